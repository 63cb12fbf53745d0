import { computed } from 'vue'
import { createI18n, useI18n } from 'vue-i18n'
import type { Text } from '@/api/contract'
import type { Locale } from '@/time'
import { en } from './en'
import { zh } from './zh-CN'

const KEY = 'zhongshu.language'

function preferred(): Locale {
  try {
    const kept = localStorage.getItem(KEY)
    if (kept === 'en' || kept === 'zh-CN') return kept
  } catch {
    // A browser that keeps nothing starts in Chinese each time.
  }
  // Chinese first: English only for a browser that asks for no Chinese at all.
  const asked = globalThis.navigator?.languages ?? []
  return asked.length > 0 && !asked.some((one) => one.startsWith('zh')) && asked[0]?.startsWith('en') ? 'en' : 'zh-CN'
}

export const i18n = createI18n({ legacy: false, locale: preferred(), fallbackLocale: 'zh-CN', messages: { 'zh-CN': zh, en } })

export function setLocale(locale: Locale): void {
  i18n.global.locale.value = locale
  document.documentElement.lang = locale
  try {
    localStorage.setItem(KEY, locale)
  } catch {
    // Kept for this visit only.
  }
}

/** `t` for our own words, `say` for words that come from the server in both languages. */
export function useWords() {
  const { t, te, locale } = useI18n()
  const current = computed(() => locale.value as Locale)
  const say = (text: Text | null | undefined): string => {
    if (!text) return ''
    return current.value === 'en' ? text.en || text.zh : text.zh || text.en
  }
  return { t, te, say, locale: current }
}
