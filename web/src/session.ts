import { computed, shallowRef } from 'vue'
import { api } from '@/api/calls'
import { setCsrf } from '@/api/client'
import type { AreaRef, Session } from '@/api/contract'
import { ApiError } from '@/api/problem'

const current = shallowRef<Session | null>(null)
let asked = false

function set(session: Session | null): void {
  current.value = session
  setCsrf(session?.csrf ?? null)
}

/** Who is logged in, asked from the server once; null = nobody. Throws when the server cannot be reached. */
export async function loadSession(): Promise<Session | null> {
  if (asked) return current.value
  try {
    set(await api.session())
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error
    set(null)
  }
  asked = true
  return current.value
}

export async function login(name: string, password: string, code: string | null = null): Promise<Session> {
  const session = await api.login(name, password, code)
  asked = true
  set(session)
  return session
}

/** Asks again who is logged in: what one may do has changed, or what had to be done first is done. */
export async function renewSession(): Promise<void> {
  try {
    set(await api.session())
  } catch {
    // Whoever asks for something next is told.
  }
}

export async function logout(): Promise<void> {
  await api.logout()
  set(null)
}

/** The server no longer knows the session. */
export function forgetSession(): void {
  asked = true
  set(null)
}

export function may(session: Session | null, permission: string): boolean {
  return session?.grants.some((grant) => grant.permissions.includes(permission)) ?? false
}

/** The widest areas that a permission holds in: none lies within another of them. */
export function scopes(session: Session | null, permission: string): AreaRef[] {
  const areas = (session?.grants ?? []).filter((grant) => grant.permissions.includes(permission)).map((grant) => grant.area)
  const unique = [...new Map(areas.map((area) => [area.path, area])).values()]
  return unique.filter((area) => !unique.some((other) => other.path !== area.path && area.path.startsWith(other.path)))
}

export interface Place { session: Session; phone: boolean }

/** Where a person's work is: the page to open after logging in. */
export function homeOf({ session, phone }: Place): string {
  const works = may(session, 'task:read') && session.duties.length > 0
  if (phone && works) return '/tasks'
  if (may(session, 'situation:read')) return '/situation'
  if (may(session, 'task:read')) return '/tasks'
  if (may(session, 'notice:read')) return '/building'
  if (may(session, 'account:read')) return '/admin/people'
  if (may(session, 'audit:read')) return '/audit'
  return '/403'
}

export function isPhone(): boolean {
  return globalThis.matchMedia?.('(max-width: 47.99rem)').matches ?? false
}

export function useSession() {
  return {
    session: current,
    may: (permission: string) => may(current.value, permission),
    person: computed(() => current.value?.person ?? null),
  }
}
