import { describe, expect, it } from 'vitest'
import { sortFaults } from '@/forms/faults'

const words = (zh: string) => ({ zh, en: zh })

describe('faults that the server found', () => {
  const cases: [path: string, field: string | null][] = [
    ['/values/note', 'note'],
    ['/values/photos/0', 'photos'],
    ['/values/a~1b', 'a/b'],
    ['/values/a~0b', 'a~b'],
    ['/values/outcome', null],
    ['/values', null],
    ['', null],
  ]
  for (const [path, field] of cases) {
    it(`${path || 'nowhere'} stands ${field ? `beside ${field}` : 'above the buttons'}`, () => {
      const sorted = sortFaults([{ path, message: words('x') }], ['note', 'photos', 'a/b', 'a~b'])
      expect(Object.keys(sorted.fields)).toEqual(field ? [field] : [])
      expect(sorted.whole).toEqual(field ? [] : [words('x')])
    })
  }

  it('keep the first word on a field', () => {
    const sorted = sortFaults([{ path: '/values/note', message: words('一') }, { path: '/values/note', message: words('二') }], ['note'])
    expect(sorted.fields['note']).toEqual(words('一'))
  })
})
