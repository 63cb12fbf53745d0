import { ref } from 'vue'

/** One sentence about what just happened, shown by the page that comes next. */
export const flash = ref('')
/** What just did not work, shown above whatever page is open. */
export const trouble = ref('')
let timer: ReturnType<typeof setTimeout> | null = null

export function say(text: string): void {
  flash.value = text
  if (timer) clearTimeout(timer)
  timer = setTimeout(() => (flash.value = ''), 8_000)
}

let troubleTimer: ReturnType<typeof setTimeout> | null = null

export function fail(text: string): void {
  trouble.value = text
  if (troubleTimer) clearTimeout(troubleTimer)
  troubleTimer = setTimeout(() => (trouble.value = ''), 8_000)
}
