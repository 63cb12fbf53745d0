import { describe, expect, it } from 'vitest'
import type { Session } from '@/api/contract'
import { homeOf, may, scopes } from '@/session'

const area = (path: string) => ({ code: path, path, level: 'estate' as const, name: { zh: path, en: path } })
const person = (permissions: string[], duties = 0, paths = ['50/a/']): Session => ({
  id: '1', need: null,
  person: { id: '1', login: 'x', name: 'x' }, csrf: 'c', expires_at: '',
  grants: paths.map((path) => ({ role: 'r', role_title: { zh: '', en: '' }, area: area(path), permissions })),
  duties: Array.from({ length: duties }, () => ({ post: 'p', post_title: { zh: '', en: '' }, area: area('50/a/') })),
})

describe('where a person’s work is', () => {
  it.each([
    ['officer at a desk', person(['situation:read', 'task:read'], 1), false, '/situation'],
    ['duty on a phone', person(['situation:read', 'task:read'], 1), true, '/tasks'],
    ['officer without a post on a phone', person(['situation:read', 'task:read']), true, '/situation'],
    ['resident', person(['notice:read', 'area:read']), true, '/building'],
    ['administrator', person(['account:read', 'area:read']), false, '/admin/people'],
    ['nobody yet', person([]), false, '/403'],
  ])('%s', (_name, session, phone, home) => {
    expect(homeOf({ session, phone })).toBe(home)
  })

  it('shows the widest areas only, and does not take a neighbour for a part', () => {
    expect(scopes(person(['situation:read'], 0, ['50/a/b/', '50/a/', '50/ab/']), 'situation:read').map((one) => one.path)).toEqual(['50/a/', '50/ab/'])
    expect(may(null, 'situation:read')).toBe(false)
  })
})
