import { describe, expect, it } from 'vitest'
import { clock, due, duration, measured, moment } from '@/time'

// 14:32:05 in Chongqing on 24 November
const NOW = Date.parse('2026-11-24T06:32:05Z')

describe('times as people say them', () => {
  it.each([
    ['2026-11-24T06:02:00Z', '14:02'],
    ['2026-11-23T16:00:00Z', '00:00'],
    ['2026-11-23T15:59:59Z', '11-23 23:59'],
    ['2025-12-31T15:59:00Z', '2025-12-31 23:59'],
    [null, '—'],
    ['not a time', '—'],
  ])('%s is %s', (time, text) => {
    expect(moment(time, NOW)).toBe(text)
  })

  it('follows the zone of the area, not of the browser', () => {
    expect(clock('2026-11-24T06:32:05Z', 'Asia/Shanghai')).toBe('14:32:05')
    expect(clock('2026-11-24T06:32:05Z', 'Asia/Urumqi')).toBe('12:32:05')
    expect(clock('2026-11-24T06:32:05Z', 'No/Such')).toBe('14:32:05')
  })

  it.each([
    [-5_000, '0 秒', '0 s'],
    [59_999, '59 秒', '59 s'],
    [47 * 60_000, '47 分', '47 min'],
    [60 * 60_000, '1 小时', '1 h'],
    [125 * 60_000, '2 小时 5 分', '2 h 5 min'],
    [76 * 3_600_000, '3 天 4 小时', '3 d 4 h'],
  ])('%i ms lasts %s', (length, zh, en) => {
    expect(duration(length, 'zh-CN')).toBe(zh)
    expect(duration(length, 'en')).toBe(en)
  })

  it('says what is left and what is overdue', () => {
    expect(due('2026-11-24T07:19:05Z', NOW, 'zh-CN')).toEqual({ overdue: false, text: '剩 47 分' })
    expect(due('2026-11-24T06:20:05Z', NOW, 'zh-CN')).toEqual({ overdue: true, text: '超时 12 分' })
    expect(due('2026-11-24T06:20:05Z', NOW, 'en')).toEqual({ overdue: true, text: '12 min overdue' })
    expect(due(null, NOW, 'en')).toBeNull()
  })

  it('shows an unknown value as a dash, and zero as zero', () => {
    expect(measured(0, 'MPa')).toBe('0.000 MPa')
    expect(measured(0.1872, 'MPa', 3)).toBe('0.187 MPa')
    expect(measured(null, 'MPa')).toBe('—')
    expect(measured(Number.NaN, 'MPa')).toBe('—')
  })
})
