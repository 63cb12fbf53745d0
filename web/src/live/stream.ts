// The one event stream of this tab. Pages subscribe to it; the first opens it, the end of the
// session closes it.
import { computed, ref, shallowRef, triggerRef } from 'vue'
import type { QueryClient } from '@tanstack/vue-query'
import { sessionExpired } from '@/api/client'
import { renewSession } from '@/session'
import { KINDS, emptyState, reduce, type Facts, type Topic } from './reducer'

/** The server pings every 15 s: three missed pings mean that nobody is there. */
const SILENCE = 45_000
/** A request that got no answer for so long hangs somewhere between: another is tried. */
const HANGING = 12_000
const RETRY = [1_000, 2_000, 5_000, 10_000, 15_000]
/** Lists are asked for again at most this often, however many events come. */
const REFRESH = 700
/** The map's things are many, and their changes come by `things`: asked for again only to be sure. */
const REFRESH_MAP = 5_000

export type Connection = 'idle' | 'connecting' | 'live' | 'lost'

const connection = ref<Connection>('idle')
const lastHeard = ref<number | null>(null)
const state = shallowRef(emptyState())
const announcement = shallowRef<Facts | null>(null)

let source: EventSource | null = null
let client: QueryClient | null = null
let watchdog: ReturnType<typeof setInterval> | null = null
let retry: ReturnType<typeof setTimeout> | null = null
let attempts = 0
let asked = 0
/** Set while the stream is broken: what happens meanwhile is not known here. */
let gap = false

const waiting = new Set<Topic>()
let refresh: ReturnType<typeof setTimeout> | null = null
let refreshed = 0
let refreshMap: ReturnType<typeof setTimeout> | null = null

function flush(): void {
  refresh = null
  refreshed = Date.now()
  const topics = [...waiting]
  waiting.clear()
  if (!client) return
  if (topics.includes('everything')) void client.invalidateQueries()
  else for (const topic of topics) void client.invalidateQueries({ queryKey: [topic] })
}

function mark(topics: readonly Topic[]): void {
  if (topics.length === 0) return
  for (const topic of topics) if (topic !== 'map') waiting.add(topic)
  if (topics.includes('map'))
    refreshMap ??= setTimeout(() => {
      refreshMap = null
      void client?.invalidateQueries({ queryKey: ['map'] })
    }, REFRESH_MAP)
  if (waiting.size === 0) return
  // The first of a burst at once, the rest together.
  refresh ??= setTimeout(flush, Math.max(0, refreshed + REFRESH - Date.now()))
}

function heard(): void {
  lastHeard.value = Date.now()
  attempts = 0
  if (connection.value !== 'live') connection.value = 'live'
}

function handle(event: MessageEvent<string>): void {
  heard()
  const outcome = reduce(state.value, event.type, event.data, Date.now())
  if (outcome.moved || event.type === 'reset') triggerRef(state)
  if (outcome.opened) announcement.value = outcome.opened
  mark(outcome.stale)
}

function lost(): void {
  if (connection.value === 'live' || connection.value === 'connecting') connection.value = 'lost'
}

function again(): void {
  if (retry) return
  const wait = RETRY[Math.min(attempts, RETRY.length - 1)] ?? 15_000
  attempts += 1
  retry = setTimeout(() => {
    retry = null
    connect()
  }, wait)
}

function connect(): void {
  source?.close()
  asked = Date.now()
  source = new EventSource('/api/v1/events')
  const mine = source
  mine.onopen = () => {
    heard()
    // A stream that resumes brings the state events it missed, but not the values, and none at
    // all when it had not seen an id yet: after every gap the lists are asked for again.
    if (gap) {
      mark(['everything'])
      // The hub ends a stream when what its person may do has changed.
      void renewSession()
    }
    gap = false
  }
  mine.onerror = () => {
    if (mine !== source) return
    asked = Date.now()
    gap = true
    lost()
    // CONNECTING: the browser resumes by itself with Last-Event-ID. CLOSED: it has given up,
    // because the answer was not a stream; a new stream knows nothing of the old one's place.
    if (mine.readyState === EventSource.CLOSED) {
      void fetch('/api/v1/session', { credentials: 'same-origin' }).then(
        (response) => {
          if (response.status === 401) sessionExpired()
          else again()
        },
        () => again(),
      )
    }
  }
  for (const kind of KINDS) mine.addEventListener(kind, handle as EventListener)
}

export function openStream(queries: QueryClient): void {
  client = queries
  if (source) return
  connection.value = 'connecting'
  connect()
  watchdog = setInterval(() => {
    const silent = Date.now() - Math.max(lastHeard.value ?? 0, asked)
    if (!retry && silent > (connection.value === 'live' ? SILENCE : HANGING)) {
      lost()
      gap = true
      again()
    }
  }, 5_000)
}

export function closeStream(): void {
  source?.close()
  source = null
  if (watchdog) clearInterval(watchdog)
  if (retry) clearTimeout(retry)
  watchdog = retry = null
  connection.value = 'idle'
  lastHeard.value = null
  attempts = 0
  gap = false
  state.value = emptyState()
  announcement.value = null
}

export function useStream() {
  return {
    connection,
    lost: computed(() => connection.value === 'lost'),
    lastHeard,
    state,
    announcement,
  }
}
