// The map's symbols, drawn on a canvas: the same shapes as LevelMark, at the sizes that can be told
// apart at a glance (normal 12 px, blue 20, yellow and orange 28, red 31).
import type { Map as MapLibre } from 'maplibre-gl'
import type { Severity } from '@/api/contract'

const INK = '#0E1318'
const HALO = '#0E1318'
const GREY = '#AAB6C2'
const FILL: Record<Severity, string> = { red: '#FF5A5F', orange: '#FFA24A', yellow: '#F5D547', blue: '#7CB7FF' }
const SIZE: Record<Severity, number> = { red: 31, orange: 28, yellow: 28, blue: 20 }

type Pen = CanvasRenderingContext2D

function outline(pen: Pen, severity: Severity, r: number): void {
  pen.beginPath()
  if (severity === 'blue') {
    pen.arc(0, 0, r, 0, Math.PI * 2)
  } else {
    const corners: [number, number][] =
      severity === 'red'
        ? Array.from({ length: 8 }, (_, i) => [r * Math.cos(Math.PI / 8 + (i * Math.PI) / 4), r * Math.sin(Math.PI / 8 + (i * Math.PI) / 4)])
        : severity === 'orange'
          ? [[0, -r], [r, 0], [0, r], [-r, 0]]
          : [[0, -r * 0.95], [r, r * 0.8], [-r, r * 0.8]]
    corners.forEach(([x, y], i) => (i === 0 ? pen.moveTo(x, y) : pen.lineTo(x, y)))
    pen.closePath()
  }
}

function draw(size: number, ratio: number, paint: (pen: Pen) => void): ImageData {
  const side = Math.ceil(size * ratio)
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = side
  const pen = canvas.getContext('2d')
  if (!pen) throw new Error('no canvas')
  pen.scale(ratio, ratio)
  pen.translate(size / 2, size / 2)
  paint(pen)
  return pen.getImageData(0, 0, side, side)
}

/** Adds every symbol; `unit` scales them on a wall, `character` says what to print on a level. */
export function addSymbols(map: MapLibre, unit: number, character: (severity: Severity) => string): void {
  const ratio = Math.max(2, globalThis.devicePixelRatio || 1) * unit
  const add = (name: string, size: number, paint: (pen: Pen) => void) => {
    if (!map.hasImage(name)) map.addImage(name, draw(size, ratio, paint), { pixelRatio: ratio / unit })
  }
  for (const severity of Object.keys(FILL) as Severity[]) {
    const size = SIZE[severity]
    add(`level-${severity}`, size + 5, (pen) => {
      outline(pen, severity, size / 2)
      pen.lineJoin = 'round'
      pen.strokeStyle = HALO
      pen.lineWidth = 3.4
      pen.stroke()
      pen.fillStyle = FILL[severity]
      pen.fill()
      // Triangles and circles of this size are too small for a character; their shape says it.
      if (severity === 'red' || severity === 'orange') {
        pen.fillStyle = INK
        pen.font = `700 ${severity === 'red' ? 15 : 13}px "HarmonyOS Sans SC","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif`
        pen.textAlign = 'center'
        pen.textBaseline = 'middle'
        pen.fillText(character(severity), 0, 1)
      }
    })
  }
  const ring = (name: string, radius: number, width: number, dash: number[]) =>
    add(name, radius * 2 + width + 4, (pen) => {
      pen.beginPath()
      pen.arc(0, 0, radius, 0, Math.PI * 2)
      pen.fillStyle = 'rgba(14,19,24,0.72)'
      pen.fill()
      pen.setLineDash(dash)
      pen.strokeStyle = GREY
      pen.lineWidth = width
      pen.stroke()
    })
  ring('normal', 4.5, 1.8, [])
  ring('normal-many', 12, 1.5, [])
  ring('unknown', 5, 1.6, [2, 2])
  add('offline', 20, (pen) => {
    pen.fillStyle = 'rgba(14,19,24,0.8)'
    pen.fillRect(-8, -8, 16, 16)
    pen.strokeStyle = GREY
    pen.lineWidth = 1.4
    pen.setLineDash([3, 2])
    pen.strokeRect(-7.5, -7.5, 15, 15)
    pen.setLineDash([])
    pen.lineWidth = 1.6
    pen.beginPath()
    pen.moveTo(-3.5, -3.5)
    pen.lineTo(3.5, 3.5)
    pen.moveTo(3.5, -3.5)
    pen.lineTo(-3.5, 3.5)
    pen.stroke()
  })
  add('selected', 48, (pen) => {
    pen.beginPath()
    pen.arc(0, 0, 21, 0, Math.PI * 2)
    pen.strokeStyle = HALO
    pen.lineWidth = 5
    pen.stroke()
    pen.strokeStyle = '#FFF'
    pen.lineWidth = 2.4
    pen.stroke()
  })
}
