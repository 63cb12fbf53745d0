// One photo on its way up while the form is still being filled in. Without a network it waits, and
// that is no failure: it goes up when the network is back, or with the form.
import type { FileRef } from '@/api/contract'
import { ApiError } from '@/api/problem'
import { later } from './queue'

export type Upload = { kind: 'sent'; file: FileRef } | { kind: 'waiting' } | { kind: 'failed' }

/** How often a photo is tried on a network that is said to be there. */
const TRIES = 3
/** The pauses between them, in seconds; what the server asks for counts, up to the longest. */
const PAUSES = [1, 3]
const LONGEST_PAUSE = 5

const rest = (seconds: number) => new Promise<void>((resolve) => setTimeout(resolve, seconds * 1000))

/**
 * Sends by `upload` until it worked, was refused, or was tried in vain; `patient` says whether the
 * photo can wait (no network, or the form's own queue takes over). Never throws.
 */
export async function sendPhoto(upload: () => Promise<FileRef>, patient: () => boolean, pause: (seconds: number) => Promise<void> = rest): Promise<Upload> {
  for (let tried = 1; ; tried += 1) {
    try {
      return { kind: 'sent', file: await upload() }
    } catch (error) {
      if (!(error instanceof ApiError) || !later(error)) return { kind: 'failed' }
      if (patient()) return { kind: 'waiting' }
      if (tried === TRIES) return { kind: 'failed' }
      await pause(Math.min(LONGEST_PAUSE, error.retryAfter ?? PAUSES[tried - 1] ?? LONGEST_PAUSE))
      if (patient()) return { kind: 'waiting' }
    }
  }
}
