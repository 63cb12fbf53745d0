// The queue of this browser, wired to the server and to what the pages show of it.
import { computed, reactive, ref, shallowRef } from 'vue'
import { api } from '@/api/calls'
import { uploadFile } from '@/api/client'
import { useSession } from '@/session'
import { kept, type Waiting } from './database'
import { Queue, type Sent } from './queue'

const items = shallowRef<Waiting[]>([])
const online = ref(globalThis.navigator?.onLine ?? true)
/** Photo → part sent, 0 to 1. */
const uploads = reactive(new Map<string, number>())

const queue = new Queue(kept, { upload: uploadFile, complete: api.complete }, (photo, part) => {
  if (part === null) uploads.delete(photo)
  else uploads.set(photo, part)
})

const listeners = new Set<(sent: Sent[]) => void>()
let timer: ReturnType<typeof setInterval> | null = null

async function reload(): Promise<void> {
  const { session } = useSession()
  items.value = session.value ? await queue.list(session.value.person.id) : []
}

/** Sends what waits; the answer says what became of each. */
export async function flush(): Promise<Sent[]> {
  const { session } = useSession()
  if (!session.value) return []
  const sent = await queue.flush(session.value.person.id)
  await reload()
  if (sent.length > 0) for (const listener of listeners) listener(sent)
  return sent
}

export async function submit(item: Waiting): Promise<Sent | null> {
  await queue.add(item)
  await reload()
  const sent = await flush()
  return sent.find((one) => one.item.id === item.id) ?? null
}

export async function dismiss(id: string): Promise<void> {
  await queue.dismiss(id)
  await reload()
}

/** Starts sending by itself: when the network returns, and every 15 s while something waits. */
export function startOutbox(onSent: (sent: Sent[]) => void): void {
  listeners.add(onSent)
  if (timer) return
  globalThis.addEventListener('online', () => {
    online.value = true
    void flush()
  })
  globalThis.addEventListener('offline', () => {
    online.value = false
  })
  globalThis.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible') void flush()
  })
  timer = setInterval(() => {
    if (items.value.some((item) => !item.refusal)) void flush()
  }, 15_000)
  void reload().then(flush)
}

export function useOutbox() {
  return {
    items,
    online,
    uploads,
    waiting: computed(() => items.value.filter((item) => !item.refusal)),
    refused: computed(() => items.value.filter((item) => item.refusal)),
    reload,
  }
}
