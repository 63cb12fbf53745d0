// One function a call: pages say what they want, not how it is fetched.
import { client, take } from './client'
import type { AccountState, AreaLevel, Contact, PersonalField } from './contract'
import { ApiError, fromResponse } from './problem'

/** What is asked of the audit; each that is there narrows it. */
export interface AuditSearch { who?: string; what?: string; object?: string; request?: string; from?: string; to?: string }

export const api = {
  session: () => take(client.GET('/api/v1/session')),
  login: (login: string, password: string, code: string | null) => take(client.POST('/api/v1/session', { body: { login, password, code } })),
  logout: () => take(client.DELETE('/api/v1/session')),

  account: () => take(client.GET('/api/v1/account')),
  changePassword: (old: string, fresh: string) => take(client.POST('/api/v1/account/password', { body: { old, new: fresh } })),
  beginSecondFactor: (password: string) => take(client.POST('/api/v1/account/second-factor', { body: { password } })),
  confirmSecondFactor: (code: string) => take(client.POST('/api/v1/account/second-factor/confirm', { body: { code } })),
  removeSecondFactor: (password: string, code: string) => take(client.POST('/api/v1/account/second-factor/remove', { body: { password, code } })),
  mySessions: () => take(client.GET('/api/v1/account/sessions')),
  endMySession: (id: string) => take(client.DELETE('/api/v1/account/sessions/{id}', { params: { path: { id } } })),
  endMyOtherSessions: () => take(client.DELETE('/api/v1/account/sessions')),
  lookAtLink: (code: string) => take(client.POST('/api/v1/account-links/look', { body: { code } })),
  setPasswordByLink: (code: string, password: string) => take(client.POST('/api/v1/account-links/password', { body: { code, password } })),

  people: (query: { q?: string; state?: AccountState; under?: string; limit?: number; after?: string }) => take(client.GET('/api/v1/people', { params: { query } })),
  personAccount: (id: string) => take(client.GET('/api/v1/people/{id}', { params: { path: { id } } })),
  invite: (body: { login: string; name: string; area: string }, key: string) => take(client.POST('/api/v1/people', { body, headers: { 'Idempotency-Key': key } })),
  resetPassword: (id: string, key: string) => take(client.POST('/api/v1/people/{id}/reset', { params: { path: { id } }, headers: { 'Idempotency-Key': key } })),
  disablePerson: (id: string) => take(client.POST('/api/v1/people/{id}/disable', { params: { path: { id } } })),
  enablePerson: (id: string) => take(client.POST('/api/v1/people/{id}/enable', { params: { path: { id } } })),
  unlockPerson: (id: string) => take(client.DELETE('/api/v1/people/{id}/lock-outs', { params: { path: { id } } })),
  resetSecondFactor: (id: string) => take(client.DELETE('/api/v1/people/{id}/second-factor', { params: { path: { id } } })),
  sessionsOf: (id: string) => take(client.GET('/api/v1/people/{id}/sessions', { params: { path: { id } } })),
  endSessionsOf: (id: string) => take(client.DELETE('/api/v1/people/{id}/sessions', { params: { path: { id } } })),
  endSessionOf: (id: string, session: string) => take(client.DELETE('/api/v1/people/{id}/sessions/{session}', { params: { path: { id, session } } })),
  personal: (id: string) => take(client.GET('/api/v1/people/{id}/personal', { params: { path: { id } } })),
  setPersonal: (id: string, field: PersonalField, value: string | null) => take(client.PUT('/api/v1/people/{id}/personal', { params: { path: { id } }, body: { field, value } })),
  revealPersonal: (id: string, field: PersonalField, reason: string) => take(client.POST('/api/v1/people/{id}/personal/reveal', { params: { path: { id } }, body: { field, reason } })),
  roles: () => take(client.GET('/api/v1/roles')),
  posts: () => take(client.GET('/api/v1/posts')),
  giveGrant: (body: { person: string; role: string; area: string; to?: string }, key: string) => take(client.POST('/api/v1/grants', { body, headers: { 'Idempotency-Key': key } })),
  endGrant: (id: string) => take(client.DELETE('/api/v1/grants/{id}', { params: { path: { id } } })),
  giveDuty: (body: { person: string; post: string; area: string; to?: string }, key: string) => take(client.POST('/api/v1/duties', { body, headers: { 'Idempotency-Key': key } })),
  endDuty: (id: string) => take(client.DELETE('/api/v1/duties/{id}', { params: { path: { id } } })),

  audit: (query: AuditSearch & { limit?: number; after?: string }) => take(client.GET('/api/v1/audit', { params: { query } })),
  auditChain: () => take(client.GET('/api/v1/audit/chain')),

  version: () => take(client.GET('/api/v1/version')),

  areas: (query: { under?: string; level?: AreaLevel; q?: string; limit?: number; after?: string }) => take(client.GET('/api/v1/areas', { params: { query } })),
  area: (code: string) => take(client.GET('/api/v1/areas/{code}', { params: { path: { code } } })),
  /** GeoJSON, which the document leaves to RFC 7946. */
  features: (code: string) => take(client.GET('/api/v1/areas/{code}/features', { params: { path: { code } } })) as Promise<unknown> as Promise<GeoJSON.FeatureCollection>,

  thing: (code: string) => take(client.GET('/api/v1/things/{code}', { params: { path: { code } } })),
  mapThings: (area: string) => take(client.GET('/api/v1/map/things', { params: { query: { area } } })),
  curve: (key: number, from: string, to: string) => take(client.GET('/api/v1/datastreams/{key}/observations', { params: { path: { key }, query: { from, to, limit: 5000 } } })),

  situation: (area: string) => take(client.GET('/api/v1/situation', { params: { query: { area } } })),
  alerts: (query: { area?: string; state?: string; severity?: string; q?: string; limit?: number; after?: string }) => take(client.GET('/api/v1/alerts', { params: { query } })),
  alert: (number: string) => take(client.GET('/api/v1/alerts/{number}', { params: { path: { number } } })),

  cases: (query: { alert?: string; area?: string; state?: 'open' | 'closed' | 'cancelled'; limit?: number }) => take(client.GET('/api/v1/cases', { params: { query } })),
  case: (number: string) => take(client.GET('/api/v1/cases/{number}', { params: { path: { number } } })),

  tasks: (state: 'open' | 'done', after?: string) => take(client.GET('/api/v1/tasks', { params: { query: { mine: true, state, limit: 50, ...(after ? { after } : {}) } } })),
  task: (id: string) => take(client.GET('/api/v1/tasks/{id}', { params: { path: { id } } })),
  complete: (id: string, values: Record<string, unknown>, key: string) => take(client.POST('/api/v1/tasks/{id}/complete', { params: { path: { id } }, headers: { 'Idempotency-Key': key }, body: { values: values as Record<string, never> } })),
  candidates: (id: string) => take(client.GET('/api/v1/tasks/{id}/candidates', { params: { path: { id } } })),
  handOver: (id: string, person: string, note: string, key: string) =>
    take(client.POST('/api/v1/tasks/{id}/hand-over', { params: { path: { id } }, headers: { 'Idempotency-Key': key }, body: { person, ...(note ? { note } : {}) } })),

  queryTables: () => take(client.GET('/api/v1/query/tables')),
  query: (sql: string, signal: AbortSignal) => take(client.POST('/api/v1/query', { body: { sql }, signal })),
  /** The same rows and more of them, for a spreadsheet. */
  queryCsv: (sql: string) => take(client.POST('/api/v1/query', { body: { sql, limit: 100_000 }, headers: { Accept: 'text/csv' }, parseAs: 'blob' })) as Promise<unknown> as Promise<Blob>,

  sweepScopes: (area: string) => take(client.GET('/api/v1/sweep-scopes', { params: { query: { area } } })),
  sweeps: (after?: string) => take(client.GET('/api/v1/sweeps', { params: { query: { limit: 20, ...(after ? { after } : {}) } } })),
  sweep: (number: string) => take(client.GET('/api/v1/sweeps/{number}', { params: { path: { number } } })),
  startSweep: (body: { area: string; type: string; datastream: string; limit_seconds: number }, key: string) => take(client.POST('/api/v1/sweeps', { headers: { 'Idempotency-Key': key }, body })),
  stopSweep: (number: string) => take(client.POST('/api/v1/sweeps/{number}/stop', { params: { path: { number } } })),
  repeatSweep: (number: string, key: string) => take(client.POST('/api/v1/sweeps/{number}/repeat', { params: { path: { number } }, headers: { 'Idempotency-Key': key } })),
  sweepRows: (number: string, verdict: string, after?: string) => take(client.GET('/api/v1/sweeps/{number}/rows', { params: { path: { number }, query: { limit: 500, ...(verdict ? { verdict } : {}), ...(after ? { after } : {}) } } })),
  sweepComparison: (number: string, after?: string) => take(client.GET('/api/v1/sweeps/{number}/comparison', { params: { path: { number }, query: { limit: 200, ...(after ? { after } : {}) } } })),
  sweepSchedules: () => take(client.GET('/api/v1/sweep-schedules', { params: { query: { limit: 500 } } })),
  keepSweepSchedule: (body: { area: string; type: string; datastream: string; limit_seconds: number; at: string }, key: string) => take(client.POST('/api/v1/sweep-schedules', { headers: { 'Idempotency-Key': key }, body })),
  deleteSweepSchedule: (id: string) => take(client.DELETE('/api/v1/sweep-schedules/{id}', { params: { path: { id } } })),

  notices: (after?: string) => take(client.GET('/api/v1/notices', { params: { query: { limit: 50, ...(after ? { after } : {}) } } })),

  notifications: (query: { state?: string; channel?: 'in-page' | 'wecom' | 'sms' | 'voice' | 'email' | 'webhook'; person?: string; case?: string; q?: string; limit?: number; after?: string }) => take(client.GET('/api/v1/notifications', { params: { query } })),
  notification: (id: string) => take(client.GET('/api/v1/notifications/{id}', { params: { path: { id } } })),
  resend: (ids: string[], key: string) => take(client.POST('/api/v1/notifications/resend', { headers: { 'Idempotency-Key': key }, body: { ids } })),
  channels: () => take(client.GET('/api/v1/channels')),
  inbox: (after?: string) => take(client.GET('/api/v1/inbox', { params: { query: { limit: 30, ...(after ? { after } : {}) } } })),
  unread: async () => (await take(client.GET('/api/v1/inbox', { params: { query: { limit: 1 } } }))).unread,
  readInbox: (upTo: string | null) => take(client.POST('/api/v1/inbox/read', { body: { up_to: upTo } })),
  contact: () => take(client.GET('/api/v1/contact')),
  keepContact: (contact: Contact) => take(client.PUT('/api/v1/contact', { body: contact })),

  /** The process's diagram, as a modeller draws it. */
  async diagram(process: string, version: number): Promise<string> {
    const response = await fetch(`/api/v1/processes/${encodeURIComponent(process)}/${version}/bpmn`, { credentials: 'same-origin' }).catch(() => {
      throw new ApiError(0, null)
    })
    if (!response.ok) throw await fromResponse(response)
    return response.text()
  },
}
