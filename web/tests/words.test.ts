import { describe, expect, it } from 'vitest'
import { i18n } from '@/i18n'
import { en } from '@/i18n/en'
import { zh } from '@/i18n/zh-CN'

type Tree = { [key: string]: string | Tree }
function leaves(tree: Tree, path = ''): [string, string][] {
  return Object.entries(tree).flatMap(([key, value]) => (typeof value === 'string' ? [[`${path}${key}`, value] as [string, string]] : leaves(value, `${path}${key}/`)))
}
const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort()

describe('both languages', () => {
  const chinese = new Map(leaves(zh as unknown as Tree))
  const english = new Map(leaves(en as unknown as Tree))

  it('say the same things, with the same places to fill', () => {
    expect([...english.keys()]).toEqual([...chinese.keys()])
    for (const [key, text] of chinese) expect(holes(english.get(key) ?? ''), key).toEqual(holes(text))
  })

  it('leave nothing empty, and no Chinese in the English', () => {
    for (const [key, text] of english) {
      expect(text.trim(), key).not.toBe('')
      if (key !== 'common/switchTo') expect(text, key).not.toMatch(/\p{Script=Han}/u)
    }
  })

  it('find the kinds of a timeline, whose names have dots', () => {
    i18n.global.locale.value = 'en'
    expect(i18n.global.t("kinds['task.escalated']")).toBe('Raised to the next level')
    expect(i18n.global.te("kinds['task.escalated']")).toBe(true)
  })
})
