import { ref } from 'vue'

/** One sentence about what just happened, shown by the page that comes next. */
export const flash = ref('')
let timer: ReturnType<typeof setTimeout> | null = null

export function say(text: string): void {
  flash.value = text
  if (timer) clearTimeout(timer)
  timer = setTimeout(() => (flash.value = ''), 8_000)
}
