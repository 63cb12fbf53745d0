import { computed, onScopeDispose, ref } from 'vue'
import { useQuery } from '@tanstack/vue-query'
import { api } from '@/api/calls'
import { DEFAULT_ZONE } from '@/time'

const now = ref(Date.now())
let users = 0
let timer: ReturnType<typeof setInterval> | null = null

/** The wall clock, one tick a second while somebody looks. */
export function useNow() {
  users += 1
  now.value = Date.now()
  timer ??= setInterval(() => {
    now.value = Date.now()
  }, 1000)
  onScopeDispose(() => {
    users -= 1
    if (users === 0 && timer) {
      clearInterval(timer)
      timer = null
    }
  })
  return now
}

/** The time zone that the hub shows times in, and whether this is a demo. */
export function useZone() {
  const { data } = useQuery({ queryKey: ['version'], queryFn: api.version, staleTime: Infinity })
  return {
    zone: computed(() => data.value?.time_zone ?? DEFAULT_ZONE),
    demo: computed(() => data.value?.demo ?? false),
    version: computed(() => data.value?.version ?? null),
  }
}
