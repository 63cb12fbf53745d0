// What a person may need when the network is gone, fetched while it is there: the task page itself
// and the details of their open tasks.
import type { QueryClient } from '@tanstack/vue-query'
import { api } from '@/api/calls'
import type { Task } from '@/api/contract'
import { ApiError } from '@/api/problem'

/** How many tasks are fetched ahead: those that are due first. */
export const AHEAD = 20
/** A shift in a cellar, ms: so long a task stays on the phone after it was last looked at. */
export const KEPT = 12 * 3_600_000

let unstyled: unknown = null

/**
 * The task page. A stylesheet that failed once is not asked for again by the loader, so after that
 * the page counts as missing, and the router loads the pages anew.
 */
export async function taskPage() {
  if (unstyled) throw unstyled
  try {
    return await import('@/pages/TaskPage.vue')
  } catch (error) {
    if (/preload css/i.test(String(error))) unstyled = error
    throw error
  }
}

/** The query of one task: the same for the page and for what is fetched ahead of it. */
export const taskQuery = (id: string) => ({ queryKey: ['tasks', 'one', id], queryFn: () => api.task(id), gcTime: KEPT })

/** Task → what the list said of it when its details were fetched. */
const known = new Map<string, string>()
let running = false

/** Fetches what is new or changed since the last call, one after another so that a thin line stays free. */
export async function fetchAhead(queries: Pick<QueryClient, 'fetchQuery' | 'getQueryData'>, tasks: readonly Task[]): Promise<void> {
  // A call during a run is not lost: the list comes again within the minute.
  if (running) return
  running = true
  try {
    for (const task of tasks.slice(0, AHEAD)) {
      const listed = JSON.stringify(task)
      const query = taskQuery(task.id)
      if (known.get(task.id) === listed && queries.getQueryData(query.queryKey) !== undefined) continue
      try {
        await queries.fetchQuery({ ...query, staleTime: 0, retry: false })
        known.set(task.id, listed)
      } catch (error) {
        // A task that is gone holds up no other; without a network the next list tries again.
        if (!(error instanceof ApiError) || error.unreachable) return
      }
    }
  } finally {
    running = false
  }
}
