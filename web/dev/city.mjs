// A made estate for looking at the pages without a hub: never part of a build.
const LON = 106.5135
const LAT = 29.5905
const M_LAT = 1 / 110_900
const M_LON = 1 / (111_320 * Math.cos((LAT * Math.PI) / 180))
export const at = (x, y) => [LON + x * M_LON, LAT + y * M_LAT]

let seed = 7
export const random = () => {
  seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648
  return seed / 2_147_483_648
}

export const AREAS = []
const add = (code, level, parent, zh, en) => {
  const above = AREAS.find((area) => area.code === parent)
  const area = { code, level, path: `${above?.path ?? ''}${code}/`, parent: above?.path ?? null, name: { zh, en }, ancestors: above ? [...above.ancestors, { code: above.code, level: above.level, path: above.path, name: above.name }] : [] }
  AREAS.push(area)
  return area
}
add('50', 'city', null, '重庆市', 'Chongqing')
add('500112', 'district', '50', '渝北区', 'Yubei District')
add('500112011', 'street', '500112', '龙溪街道', 'Longxi Street')
add('500112011014', 'community', '500112011', '嘉州社区', 'Jiazhou Community')
add('500112011014-g01', 'grid', '500112011014', '第一网格', 'Grid 1')
add('jz', 'estate', '500112011014-g01', '加州花园', 'Jiazhou Garden')
export const ref = (code) => {
  const { level, path, name } = AREAS.find((area) => area.code === code)
  return { code, level, path, name }
}

const polygon = (points) => ({ type: 'Polygon', coordinates: [[...points, points[0]].map(([x, y]) => at(x, y))] })
const box = (cx, cy, w, h, turn) => {
  const c = Math.cos(turn)
  const s = Math.sin(turn)
  return [[-w / 2, -h / 2], [w / 2, -h / 2], [w / 2, h / 2], [-w / 2, h / 2]].map(([x, y]) => [cx + x * c - y * s, cy + x * s + y * c])
}
export const features = { type: 'FeatureCollection', features: [] }
const feature = (geometry, properties) => features.features.push({ type: 'Feature', geometry, properties: { schematic: true, ...properties } })

feature(polygon([[-210, -175], [210, -175], [210, 175], [-210, 175]]), { kind: 'estate', area: 'jz', name: { zh: '加州花园', en: 'Jiazhou Garden' } })
feature(polygon(box(0, 0, 120, 60, 0.1)), { kind: 'green', name: { zh: '', en: '' } })
feature(polygon(Array.from({ length: 18 }, (_, i) => [10 + 34 * Math.cos((i / 9) * Math.PI), 4 + 17 * Math.sin((i / 9) * Math.PI)])), { kind: 'water', name: { zh: '中心水景', en: 'Pond' } })
for (const [zh, en, line] of [['红锦大道', 'Hongjin Avenue', [[-1200, -215], [1200, -215]]], ['新溉大道', 'Xingai Avenue', [[250, -1200], [250, 1200]]]]) feature({ type: 'LineString', coordinates: line.map(([x, y]) => at(x, y)) }, { kind: 'road', name: { zh, en } })
for (const line of [[[-1200, 215], [1200, 215]], [[-250, -1200], [-250, 1200]], [[-1200, 560], [1200, 560]], [[-1200, -560], [1200, -560]], [[640, -1200], [640, 1200]], [[-640, -1200], [-640, 1200]]]) feature({ type: 'LineString', coordinates: line.map(([x, y]) => at(x, y)) }, { kind: 'road', name: { zh: '', en: '' } })
for (const line of [[[-190, -90], [190, -90]], [[-190, 90], [190, 90]], [[-100, -170], [-100, 170]], [[100, -170], [100, 170]]]) feature({ type: 'LineString', coordinates: line.map(([x, y]) => at(x, y)) }, { kind: 'road', class: 'internal', name: { zh: '', en: '' } })
feature({ type: 'LineString', coordinates: [[-230, -195], [230, -195], [230, 195], [-230, 195], [-230, -195]].map(([x, y]) => at(x, y)) }, { kind: 'main', name: { zh: '市政环网', en: 'Ring main' } })

export const buildings = []
const spots = []
for (const y of [-135, -45, 45, 135]) for (const x of [-160, -80, 0, 80, 160]) if (!(x === 0 && Math.abs(y) === 45)) spots.push([x, y])
spots.push([0, 75])
spots.slice(0, 19).forEach(([x, y], index) => {
  const number = index + 1
  const floors = 18 + Math.floor(random() * 16)
  const code = `jz-${String(number).padStart(2, '0')}`
  add(code, 'building', 'jz', `${number} 栋`, `Building ${number}`)
  buildings.push({ code, number, x, y, floors })
  feature(polygon(box(x, y, 34, 20, (random() - 0.5) * 0.6)), { kind: 'building', area: ref(code).path, code, name: { zh: `${number} 栋`, en: `Building ${number}` }, floors, height: floors * 3 })
})
for (let x = -1150; x <= 1150; x += 78) {
  for (let y = -1150; y <= 1150; y += 70) {
    if ((Math.abs(x) < 275 && Math.abs(y) < 245) || [250, -250, 640, -640].some((r) => Math.abs(x - r) < 34) || [215, -215, 560, -560].some((r) => Math.abs(y - r) < 34)) continue
    feature(polygon(box(x + random() * 14, y + random() * 10, 30 + random() * 26, 18 + random() * 16, (random() - 0.5) * 0.2)), { kind: 'context-building', name: { zh: '', en: '' }, height: 9 + random() * 60 })
  }
}

export const things = []
let key = 1000
for (const building of buildings) {
  for (let i = 0; i < 20; i += 1) {
    const floor = Math.min(building.floors, 1 + i + Math.floor((i * building.floors) / 40))
    things.push({ building, floor, siting: 'indoor', lonlat: at(building.x + (i % 2) * 3, building.y), main: `riser-${String(building.number).padStart(2, '0')}-${1 + (i % 2)}`, area: building.code, zh: `${building.number} 栋 ${floor} 层`, en: `Building ${building.number}, floor ${floor}` })
  }
}
for (let i = 0; i < 40; i += 1) {
  const side = i % 4
  const along = -180 + Math.floor(i / 4) * 40
  const spot = side === 0 ? [along, -192] : side === 1 ? [along, 192] : side === 2 ? [-226, along * 0.85] : [226, along * 0.85]
  things.push({ building: null, floor: null, siting: 'outdoor', lonlat: at(...spot), main: `main-${1 + side}`, area: 'jz', zh: `${['南', '北', '西', '东'][side]}侧 ${1 + Math.floor(i / 4)} 号`, en: `${['South', 'North', 'West', 'East'][side]} side, no. ${1 + Math.floor(i / 4)}` })
}
things.forEach((thing, index) => {
  thing.code = `jz-h-${String(index + 1).padStart(4, '0')}`
  thing.key = key += 1
  thing.name = { zh: `${thing.zh}消火栓`, en: `Hydrant, ${thing.en}` }
  thing.place = { zh: thing.zh, en: thing.en }
  thing.base = thing.siting === 'outdoor' ? 0.36 : 0.3 + random() * 0.14
  thing.value = thing.base
  thing.state = 'normal'
  thing.severity = null
})

// CITY=FOLDER: the city that `citysim city --out FOLDER` wrote, in the place of the made one.
if (process.env.CITY) {
  const { readFileSync } = await import('node:fs')
  const rows = (name) => {
    const [head, ...lines] = readFileSync(`${process.env.CITY}/${name}`, 'utf8').trim().split(/\r?\n/).map((line) => [...line.matchAll(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g)].slice(0, -1).map((m) => m[1].replace(/^"|"$/g, '').replaceAll('""', '"')))
    return lines.map((line) => Object.fromEntries(head.map((column, i) => [column, line[i] ?? ''])))
  }
  AREAS.length = 0
  const byCode = new Map()
  for (const row of rows('areas.csv')) {
    if (row.level !== 'city' && row.code.startsWith('50') && !row.code.startsWith('500112')) continue
    const above = byCode.get(row.parent)
    const area = { code: row.code, level: row.level, path: `${above?.path ?? ''}${row.code}/`, parent: above?.path ?? null, name: { zh: row.name_zh, en: row.name_en || row.name_zh }, ancestors: above ? [...above.ancestors, { code: above.code, level: above.level, path: above.path, name: above.name }] : [] }
    byCode.set(row.code, area)
    AREAS.push(area)
  }
  features.features = JSON.parse(readFileSync(`${process.env.CITY}/features.geojson`, 'utf8')).features
  things.length = 0
  rows('things.csv').forEach((row, index) => {
    const properties = JSON.parse(row.properties)
    things.push({ code: row.code, key: 1001 + index, area: row.area, name: { zh: row.name_zh, en: row.name_en }, place: { zh: row.place_zh, en: row.place_en }, lonlat: [Number(row.lon), Number(row.lat)], siting: properties.siting, floor: properties.floor ?? null, main: properties.main, base: 0.35, value: 0.35, state: 'normal', severity: null })
  })
}
