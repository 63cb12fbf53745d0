import { beforeEach, expect, it, vi } from 'vitest'
import { QueryClient } from '@tanstack/vue-query'
import type { Task } from '@/api/contract'
import { ApiError } from '@/api/problem'
import { AHEAD, fetchAhead } from '@/offline/ahead'

const asked: string[] = []
let network = true
const gone = new Set<string>()
vi.mock('@/api/calls', () => ({
  api: {
    task: (id: string) => {
      asked.push(id)
      return network && !gone.has(id) ? Promise.resolve({ id }) : Promise.reject(new ApiError(network ? 404 : 0, null))
    },
  },
}))

const task = (id: string, more: Partial<Task> = {}) => ({ id, state: 'open', ...more }) as Task
let queries: QueryClient
beforeEach(() => {
  queries = new QueryClient()
  asked.length = 0
  network = true
})

it('fetches what is due first, and each task again only when the list says something new of it', async () => {
  const list = Array.from({ length: AHEAD + 5 }, (_, index) => task(`a${index}`))
  await fetchAhead(queries, list)
  expect(asked).toEqual(list.slice(0, AHEAD).map(({ id }) => id))
  expect(queries.getQueryData(['tasks', 'one', 'a0'])).toEqual({ id: 'a0' })
  await fetchAhead(queries, list)
  expect(asked).toHaveLength(AHEAD)
  await fetchAhead(queries, [task('a0', { outcome: 'done' }), ...list.slice(1)])
  expect(asked.slice(AHEAD)).toEqual(['a0'])
})

it('stops without a network, and the next list goes on', async () => {
  network = false
  await fetchAhead(queries, [task('b0'), task('b1')])
  expect(asked).toEqual(['b0'])
  network = true
  await fetchAhead(queries, [task('b0'), task('b1')])
  expect(asked).toEqual(['b0', 'b0', 'b1'])
})

it('goes on behind a task that is gone', async () => {
  gone.add('d0')
  await fetchAhead(queries, [task('d0'), task('d1')])
  expect(asked).toEqual(['d0', 'd1'])
})

it('fetches everything again for the next person on the same phone', async () => {
  await fetchAhead(queries, [task('c0')])
  queries.clear()
  await fetchAhead(queries, [task('c0')])
  expect(asked).toEqual(['c0', 'c0'])
})
