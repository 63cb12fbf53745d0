import { createRouter, createWebHistory, type RouteRecordRaw } from 'vue-router'
import { fail, trouble } from './flash'
import { i18n } from './i18n'
import { taskPage } from './offline/ahead'
import { homeOf, isPhone, loadSession, may } from './session'

declare module 'vue-router' {
  interface RouteMeta {
    /** Opens without a session. */
    open?: boolean
    /** What one must be permitted to see the page. */
    permission?: string
    theme?: 'dark' | 'light'
    /** The key of the page's title. */
    title?: string
  }
}

const routes: RouteRecordRaw[] = [
  { path: '/', name: 'home', component: { render: () => null } },
  { path: '/login', name: 'login', component: () => import('./pages/LoginPage.vue'), meta: { open: true, title: 'login.title' } },
  { path: '/welcome', name: 'welcome', component: () => import('./pages/WelcomePage.vue'), meta: { open: true, title: 'welcome.title' } },
  { path: '/enter', name: 'enter', component: () => import('./pages/EnterPage.vue'), meta: { title: 'enter.title' } },
  { path: '/account', name: 'account', component: () => import('./pages/AccountPage.vue'), meta: { title: 'account.title' } },
  { path: '/admin/people', name: 'people', component: () => import('./pages/PeoplePage.vue'), meta: { permission: 'account:read', title: 'people.title' } },
  { path: '/admin/people/:id', name: 'person', component: () => import('./pages/PersonPage.vue'), props: true, meta: { permission: 'account:read', title: 'person.title' } },
  { path: '/audit', name: 'audit', component: () => import('./pages/AuditPage.vue'), meta: { permission: 'audit:read', title: 'audit.title' } },
  { path: '/situation', name: 'situation', component: () => import('./pages/SituationPage.vue'), meta: { permission: 'situation:read', theme: 'dark', title: 'situation.title' } },
  { path: '/alerts/:number', name: 'alert', component: () => import('./pages/AlertPage.vue'), props: true, meta: { permission: 'alert:read', title: 'alert.title' } },
  { path: '/tasks', name: 'tasks', component: () => import('./pages/TasksPage.vue'), meta: { permission: 'task:read', title: 'tasks.title' } },
  { path: '/tasks/:id', name: 'task', component: taskPage, props: true, meta: { permission: 'task:read', title: 'task.title' } },
  { path: '/building', name: 'building', component: () => import('./pages/BuildingPage.vue'), meta: { permission: 'notice:read', title: 'building.title' } },
  { path: '/notifications', name: 'notifications', component: () => import('./pages/NotificationsPage.vue'), meta: { permission: 'notification:read', title: 'notifications.title' } },
  { path: '/inbox', name: 'inbox', component: () => import('./pages/InboxPage.vue'), meta: { title: 'inbox.title' } },
  { path: '/sweeps', name: 'sweeps', component: () => import('./pages/SweepsPage.vue'), meta: { permission: 'sweep:read', title: 'sweep.title' } },
  { path: '/sweeps/:number', name: 'sweep', component: () => import('./pages/SweepPage.vue'), props: true, meta: { permission: 'sweep:read', title: 'sweep.title' } },
  { path: '/query', name: 'query', component: () => import('./pages/QueryPage.vue'), meta: { permission: 'data:query', title: 'query.title' } },
  { path: '/403', name: 'forbidden', component: () => import('./pages/MessagePage.vue'), props: { kind: 'forbidden' }, meta: { open: true, title: 'forbidden.title' } },
  { path: '/unreachable', name: 'unreachable', component: () => import('./pages/MessagePage.vue'), props: { kind: 'unreachable' }, meta: { open: true, title: 'unreachable.title' } },
  { path: '/:rest(.*)*', name: 'missing', component: () => import('./pages/MessagePage.vue'), props: { kind: 'missing' }, meta: { open: true, title: 'missing.title' } },
]

export const router = createRouter({
  history: createWebHistory(),
  routes,
  scrollBehavior: (_to, _from, saved) => saved ?? { top: 0 },
})

// A new page starts at its beginning for the keyboard and for screen readers too.
router.afterEach((to, from, failure) => {
  if (!failure) trouble.value = ''
  if (to.path !== from.path && from.name && to.name !== 'login') setTimeout(() => document.getElementById('main')?.focus({ preventScroll: true }))
})

// A page that was open while the hub was updated asks for files that are gone. The new pages are
// loaded in its place, where the person was going. Without a network nothing would be gained by it:
// the page where the person is stays, and says so.
const RELOADED = 'zhongshu.reloaded'
router.onError(async (error, to) => {
  if (!/dynamically imported module|module script failed|unable to preload/i.test(String(error))) return
  const there = await fetch('/', { method: 'HEAD', cache: 'no-store' }).then((answer) => answer.ok, () => false)
  if (!there) return fail(i18n.global.t('failure.pageOffline'))
  try {
    // Once: a file that is missing from the new pages too would be asked for without end.
    if (Date.now() - Number(sessionStorage.getItem(RELOADED)) < 30_000) return
    sessionStorage.setItem(RELOADED, String(Date.now()))
  } catch {
    return
  }
  globalThis.location.assign(to.fullPath)
})

router.beforeEach(async (to) => {
  if (to.meta.open && to.name !== 'login') return true
  let session
  try {
    session = await loadSession()
  } catch {
    // Login itself can be shown without a server; it says so when one tries.
    return to.name === 'login' ? true : { name: 'unreachable', query: { return: to.fullPath } }
  }
  if (to.name === 'login') return session && !to.query['expired'] ? homeOf({ session, phone: isPhone() }) : true
  // Before that is done the hub answers nothing else.
  if (session?.need && to.name !== 'enter') return { name: 'enter', query: to.name === 'home' ? {} : { return: to.fullPath } }
  if (session && !session.need && to.name === 'enter') return homeOf({ session, phone: isPhone() })
  if (!session) return { name: 'login', query: to.name === 'home' ? {} : { return: to.fullPath } }
  if (to.name === 'home') return homeOf({ session, phone: isPhone() })
  if (to.meta.permission && !may(session, to.meta.permission)) return { name: 'forbidden' }
  return true
})
