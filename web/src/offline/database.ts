// What a phone keeps until the network is back: in IndexedDB, so that a closed tab loses nothing.
import type { FieldFault } from '@/api/contract'
import type { Values } from '@/forms/schema'

export interface KeptPhoto { local: string; field: string; name: string; blob: Blob; file: string | null }

/** A form being filled in. */
export interface Draft { task: string; person: string; values: Values; photos: KeptPhoto[]; saved: number; faults?: FieldFault[] }

export type Refusal = { kind: 'taken'; by: string | null; at: string | null } | { kind: 'refused'; status: number; message: string | null; errors?: FieldFault[] }

/** A form that was submitted and has not reached the server yet. */
export interface Waiting {
  /** Also the Idempotency-Key: however often it is sent, it counts once. */
  id: string
  person: string
  task: string
  title: string
  values: Values
  photos: KeptPhoto[]
  created: number
  refusal: Refusal | null
}

const NAME = 'zhongshu'

function request<T>(asked: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result)
    asked.onerror = () => reject(asked.error ?? new Error('the phone’s store refused'))
  })
}

let opened: Promise<IDBDatabase> | null = null

function open(): Promise<IDBDatabase> {
  opened ??= new Promise((resolve, reject) => {
    const asked = indexedDB.open(NAME, 1)
    asked.onupgradeneeded = () => {
      asked.result.createObjectStore('drafts', { keyPath: ['person', 'task'] })
      asked.result.createObjectStore('waiting', { keyPath: 'id' })
    }
    asked.onsuccess = () => resolve(asked.result)
    asked.onerror = () => {
      opened = null
      reject(asked.error ?? new Error('the phone’s store did not open'))
    }
  })
  return opened
}

function done(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve()
    transaction.onabort = transaction.onerror = () => reject(transaction.error ?? new Error('the phone’s store refused'))
  })
}

async function write(store: 'drafts' | 'waiting', work: (store: IDBObjectStore) => void): Promise<void> {
  const transaction = (await open()).transaction(store, 'readwrite')
  work(transaction.objectStore(store))
  await done(transaction)
}

export const kept = {
  async draft(person: string, task: string): Promise<Draft | null> {
    const store = (await open()).transaction('drafts').objectStore('drafts')
    return ((await request(store.get([person, task]))) as Draft | undefined) ?? null
  },
  saveDraft: (draft: Draft) => write('drafts', (store) => store.put(draft)),
  dropDraft: (person: string, task: string) => write('drafts', (store) => store.delete([person, task])),

  async waiting(): Promise<Waiting[]> {
    const store = (await open()).transaction('waiting').objectStore('waiting')
    const all = (await request(store.getAll())) as Waiting[]
    return all.sort((a, b) => a.created - b.created)
  },
  saveWaiting: (item: Waiting) => write('waiting', (store) => store.put(item)),
  dropWaiting: (id: string) => write('waiting', (store) => store.delete(id)),
}
