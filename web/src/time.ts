// Times as people say them, always in the area's time zone (said once on the page).

export const DEFAULT_ZONE = 'Asia/Shanghai'
export type Locale = 'zh-CN' | 'en'

interface Parts { year: number; month: string; day: string; hour: string; minute: string; second: string }

const formats = new Map<string, Intl.DateTimeFormat>()

function parts(at: Date, zone: string): Parts {
  let format = formats.get(zone)
  if (!format) {
    const options: Intl.DateTimeFormatOptions = { year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23' }
    try {
      format = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: zone })
    } catch {
      // A zone this browser does not know: better the usual one than no time at all.
      format = new Intl.DateTimeFormat('en-GB', { ...options, timeZone: DEFAULT_ZONE })
    }
    formats.set(zone, format)
  }
  const found: Record<string, string> = {}
  for (const { type, value } of format.formatToParts(at)) found[type] = value
  return { year: Number(found['year']), month: found['month'] ?? '', day: found['day'] ?? '', hour: found['hour'] ?? '', minute: found['minute'] ?? '', second: found['second'] ?? '' }
}

function read(time: string | number | Date | null | undefined): Date | null {
  if (time === null || time === undefined) return null
  const at = time instanceof Date ? time : new Date(time)
  return Number.isNaN(at.getTime()) ? null : at
}

/** `14:32:05` */
export function clock(time: string | number | Date, zone = DEFAULT_ZONE): string {
  const at = read(time)
  if (!at) return '—'
  const p = parts(at, zone)
  return `${p.hour}:${p.minute}:${p.second}`
}

/** `14:32` today, `11-24 14:32` before, `2025-11-24 14:32` in another year. */
export function moment(time: string | null | undefined, now: number, zone = DEFAULT_ZONE, seconds = false): string {
  const at = read(time)
  if (!at) return '—'
  const p = parts(at, zone)
  const today = parts(new Date(now), zone)
  const hour = seconds ? `${p.hour}:${p.minute}:${p.second}` : `${p.hour}:${p.minute}`
  if (p.year === today.year && p.month === today.month && p.day === today.day) return hour
  return p.year === today.year ? `${p.month}-${p.day} ${hour}` : `${p.year}-${p.month}-${p.day} ${hour}`
}

/** The hour of the day, `09`: what the axis of a day's chart says. */
export function hourOf(time: string | number, zone = DEFAULT_ZONE): string {
  const at = read(time)
  return at ? parts(at, zone).hour : ''
}

/** `47 分`, `2 小时 5 分`, `3 天 4 小时`; never negative. */
export function duration(milliseconds: number, locale: Locale): string {
  const zh = locale === 'zh-CN'
  const seconds = Math.max(0, Math.floor(milliseconds / 1000))
  if (seconds < 60) return zh ? `${seconds} 秒` : `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return zh ? `${minutes} 分` : `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 24) {
    const rest = minutes % 60
    if (rest === 0) return zh ? `${hours} 小时` : `${hours} h`
    return zh ? `${hours} 小时 ${rest} 分` : `${hours} h ${rest} min`
  }
  const days = Math.floor(hours / 24)
  const rest = hours % 24
  if (rest === 0) return zh ? `${days} 天` : `${days} d`
  return zh ? `${days} 天 ${rest} 小时` : `${days} d ${rest} h`
}

export interface Due { overdue: boolean; text: string }

/** `剩 47 分` before, `超时 12 分` after; null when nothing is due. */
export function due(time: string | null | undefined, now: number, locale: Locale): Due | null {
  const at = read(time)
  if (!at) return null
  const left = at.getTime() - now
  const overdue = left < 0
  const length = duration(Math.abs(left), locale)
  if (locale === 'zh-CN') return { overdue, text: overdue ? `超时 ${length}` : `剩 ${length}` }
  return { overdue, text: overdue ? `${length} overdue` : `${length} left` }
}

/** A value with its unit as the datastream measures it; unknown is a dash, never zero. */
export function measured(value: number | null | undefined, unit: string, decimals = 3): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '—'
  return unit ? `${value.toFixed(decimals)} ${unit}` : value.toFixed(decimals)
}
