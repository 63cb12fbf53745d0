import { createApp } from 'vue'
import { QueryClient, VueQueryPlugin } from '@tanstack/vue-query'
import App from './App.vue'
import { onExpired } from './api/client'
import { ApiError } from './api/problem'
import { i18n, setLocale } from './i18n'
import { closeStream } from './live/stream'
import { router } from './router'
import { forgetSession } from './session'
import type { Locale } from './time'
import './styles/base.css'
import './styles/element.css'

const queries = new QueryClient({
  defaultOptions: {
    queries: {
      // What went wrong for a reason stays wrong; a line that broke may be back in a second.
      retry: (count, error) => count < 2 && error instanceof ApiError && error.unreachable,
      retryDelay: (count) => 500 * 2 ** count,
      staleTime: 5_000,
      // A phone that believes itself offline still asks: loopback and captive networks fool it.
      networkMode: 'always',
      refetchOnWindowFocus: true,
    },
  },
})

setLocale(i18n.global.locale.value as Locale)

onExpired(() => {
  forgetSession()
  closeStream()
  const here = router.currentRoute.value
  if (here.name !== 'login') void router.replace({ name: 'login', query: { return: here.fullPath, expired: '1' } })
})

createApp(App).use(i18n).use(VueQueryPlugin, { queryClient: queries }).use(router).mount('#app')
