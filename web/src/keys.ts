import { onBeforeUnmount, onMounted, ref, watch } from 'vue'

const KEY = 'zhongshu.keys'

function kept(): boolean {
  try {
    return localStorage.getItem(KEY) !== 'off'
  } catch {
    return true
  }
}

/** Single-key shortcuts can be switched off (WCAG 2.1.4); Escape always works. */
export const keysEnabled = ref(kept())
watch(keysEnabled, (on) => {
  try {
    localStorage.setItem(KEY, on ? 'on' : 'off')
  } catch {
    // Kept for this visit only.
  }
})

/** Whether a key press belongs to what is being typed rather than to us. */
export function isTyping(event: Pick<KeyboardEvent, 'target' | 'isComposing' | 'keyCode'>): boolean {
  if (event.isComposing || event.keyCode === 229) return true
  const target = event.target
  return target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'TEXTAREA', 'SELECT'].includes(target.tagName))
}

export function useKeys(keys: Record<string, (event: KeyboardEvent) => void>): void {
  const listen = (event: KeyboardEvent) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return
    const name = event.key.length === 1 ? event.key.toLowerCase() : event.key
    const action = keys[name]
    if (!action) return
    if (name !== 'Escape') {
      if (!keysEnabled.value || isTyping(event)) return
      // A dialog has the keyboard for itself.
      if (document.querySelector('[role="dialog"][aria-modal="true"]')?.checkVisibility?.()) return
    }
    action(event)
  }
  onMounted(() => document.addEventListener('keydown', listen))
  onBeforeUnmount(() => document.removeEventListener('keydown', listen))
}
