// A pretend hub for looking at the pages: serves dist, answers the API from made data, streams
// events. Development only; the real pages are tested against the real hub.
//   node dev/mock.mjs [port]     accounts: officer, property, community, resident (any password; "x" is wrong, "slow" is throttled)
//   POST /mock/alert · /mock/drop (stream gone 15 s) · /mock/fail?on=1 (API answers 503) · /mock/taken (the task is done by another)
import { createReadStream, existsSync, readFileSync, statSync } from 'node:fs'
import { createServer } from 'node:http'
import { extname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { AREAS, features, random, ref, things } from './city.mjs'

const here = fileURLToPath(new URL('.', import.meta.url))
const dist = join(here, '../dist')
const packs = process.env.PACKS ?? join(here, '../../packs/fire')
const port = Number(process.argv[2] ?? 8090)
const CSP = "default-src 'self'; style-src 'self'; worker-src 'self'; img-src 'self' data: blob:"
const ago = (minutes) => new Date(Date.now() - minutes * 60_000).toISOString()
const uuid = () => crypto.randomUUID()

// ---- what happened so far
const LEVELS = ['red', 'orange', 'yellow', 'blue']
let alerts = []
let serial = 0
function openAlert(thing, severity, minutes, acknowledged, rule = 'hydrant-low-pressure') {
  serial += 1
  const silent = rule === 'hydrant-silent'
  thing.state = silent ? 'offline' : 'alert'
  thing.severity = severity
  if (!silent) thing.value = { red: 0.082, orange: 0.127, yellow: 0.168, blue: 0.19 }[severity] + random() * 0.01
  const alert = {
    id: uuid(), number: `2026-1124-${String(serial).padStart(4, '0')}`, rule,
    title: silent ? { zh: '消火栓失联', en: 'Hydrant silent' } : { zh: '消火栓水压低', en: 'Low hydrant pressure' },
    thing: thing.code, thing_name: thing.name, datastream: thing.key, area: ref(thing.area), place: thing.place, location: thing.lonlat,
    severity, peak_severity: severity, state: acknowledged ? 'acknowledged' : 'open', value: silent ? null : Number(thing.value.toFixed(3)), unit: 'MPa', last_value: Number(thing.value.toFixed(3)),
    opened_at: ago(minutes), acknowledged_at: acknowledged ? ago(minutes - 2) : null, acknowledged_by: acknowledged ? '周敏' : null, resolved_at: null, correlation: thing.main,
  }
  alerts.push(alert)
  return alert
}
const on = (main) => things.filter((thing) => thing.main === main)
on('riser-03-1').forEach((thing, i) => openAlert(thing, 'yellow', 46 - i * 0.05, true))
on('main-2').slice(0, 3).forEach((thing, i) => openAlert(thing, ['red', 'orange', 'orange'][i], 8 + i, i === 0))
openAlert(on('main-3')[4], 'red', 3, false)
on('riser-11-1').slice(0, 6).forEach((thing, i) => openAlert(thing, 'yellow', 14 - i * 0.1, false))
openAlert(on('main-1')[2], 'orange', 21, false)
for (const i of [31, 77, 190, 288, 301]) openAlert(things[i], 'blue', 60 + i, i % 2 === 0, 'hydrant-silent')
on('riser-17-2').slice(0, 4).forEach((thing) => (thing.state = 'unknown'))

const order = (a, b) => {
  const pin = (x) => (x.severity === 'red' && x.state !== 'resolved' ? 0 : 1)
  const stage = (x) => ({ open: 0, acknowledged: 1, resolved: 2 })[x.state]
  return pin(a) - pin(b) || stage(a) - stage(b) || LEVELS.indexOf(a.severity) - LEVELS.indexOf(b.severity) || Date.parse(b.opened_at) - Date.parse(a.opened_at)
}
const THRESHOLDS = [{ severity: 'yellow', below: 0.2, clear_above: 0.22, label: { zh: '预警线', en: 'Warning' } }]
const OUTDOOR = [...THRESHOLDS, { severity: 'orange', below: 0.14, clear_above: 0.16, label: { zh: '消火栓下限', en: 'Hydrant minimum' } }, { severity: 'red', below: 0.1, clear_above: 0.12, label: { zh: '火场下限', en: 'Firefighting minimum' } }]
const thresholdsOf = (thing) => (thing.siting === 'outdoor' ? OUTDOOR : THRESHOLDS)

const POST = { 'property-duty': { zh: '物业值班岗', en: 'Property duty' }, 'community-duty': { zh: '社区值班岗', en: 'Community duty' } }
const STEPS = [['sign', '签收', 'Sign'], ['verify', '核实', 'Verify'], ['repair', '维修', 'Repair'], ['check', '复核', 'Check'], ['close', '结案', 'Close']]
const FORMS = {
  sign: { type: 'object', required: ['outcome'], properties: { outcome: { type: 'string', enum: ['accepted'], 'x-primary': true, 'x-enum-titles': { accepted: { zh: '签收', en: 'Sign' } } } } },
  verify: {
    type: 'object', required: ['outcome'],
    properties: {
      outcome: { type: 'string', enum: ['real', 'false-alarm'], 'x-primary': true, 'x-enum-titles': { real: { zh: '属实', en: 'It is real' }, 'false-alarm': { zh: '误报', en: 'False alarm' } } },
      note: { type: 'string', maxLength: 500, 'x-title': { zh: '现场情况', en: 'What you found' } },
      photos: { type: 'array', items: { type: 'string', format: 'file-id' }, maxItems: 6, 'x-accept': 'image/*', 'x-title': { zh: '照片', en: 'Photos' } },
    },
  },
  repair: {
    type: 'object', required: ['outcome', 'cause', 'photos'],
    properties: {
      cause: { type: 'string', enum: ['burst', 'valve', 'leak', 'sensor', 'other'], 'x-title': { zh: '原因', en: 'Cause' }, 'x-enum-titles': { burst: { zh: '管道爆裂', en: 'Burst pipe' }, valve: { zh: '阀门误关', en: 'Valve closed by mistake' }, leak: { zh: '泄漏', en: 'Leak' }, sensor: { zh: '传感器故障', en: 'Faulty sensor' }, other: { zh: '其他', en: 'Other' } } },
      note: { type: 'string', maxLength: 500, 'x-title': { zh: '处理经过', en: 'What was done' } },
      photos: { type: 'array', items: { type: 'string', format: 'file-id' }, minItems: 1, maxItems: 6, 'x-accept': 'image/*', 'x-title': { zh: '维修照片', en: 'Photos of the repair' }, 'x-help': { zh: '请拍下维修后的管段和压力表。', en: 'Show the repaired pipe and the gauge.' } },
      outcome: { type: 'string', enum: ['done'], 'x-primary': true, 'x-enum-titles': { done: { zh: '维修完成', en: 'Repair done' } } },
    },
  },
}
const formOf = (element) => {
  const file = join(packs, 'forms', `${element}.schema.json`)
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : (FORMS[element] ?? null)
}
const burst = alerts.filter((alert) => alert.correlation === 'riser-03-1')
const makeTask = (element, name, extra) => ({
  id: uuid(), case: '2026-1124-0001', case_id: 'c1', element, name, title: { zh: '3 栋 8 层等 10 处消火栓水压低', en: 'Low hydrant pressure, building 3, floor 8 and 9 more' },
  place: { zh: '加州花园 3 栋 8 层', en: 'Jiazhou Garden, building 3, floor 8' }, area: ref('jz'), location: things[48].lonlat, severity: 'yellow', post: 'property-duty', post_title: POST['property-duty'], level: 'estate',
  state: 'open', opened_at: ago(20), due_at: ago(-47), escalates_at: ago(-6), assignee: null, completed_at: null, completed_by: null, outcome: null, actions: ['complete', 'hand-over'], ...extra,
})
const tasks = [
  makeTask('repair', { zh: '维修', en: 'Repair' }, {}),
  makeTask('verify', { zh: '核实', en: 'Verify' }, { case: '2026-1124-0002', title: { zh: '北侧 1 号消火栓水压低', en: 'Low hydrant pressure, north side no. 1' }, place: { zh: '加州花园 北侧 1 号', en: 'Jiazhou Garden, north side no. 1' }, severity: 'red', due_at: ago(12), opened_at: ago(42) }),
  makeTask('sign', { zh: '签收', en: 'Sign' }, { case: '2026-1124-0003', title: { zh: '11 栋 1 层等 6 处消火栓水压低', en: 'Low hydrant pressure, building 11 and 5 more' }, place: { zh: '加州花园 11 栋 1 层', en: 'Jiazhou Garden, building 11, floor 1' }, due_at: null, opened_at: ago(9), escalates_at: ago(-1) }),
  makeTask('sign', { zh: '签收', en: 'Sign' }, { state: 'completed', completed_at: ago(44), completed_by: '周敏', actions: [], outcome: 'accepted' }),
]
const told = (name, post, area) => ({ name, post, post_title: { zh: post, en: post }, area: { code: area, path: area, level: 'estate', name: { zh: area, en: area } } })
const entry = (minutes, kind, element, zh, en, extra = {}) => ({ at: ago(minutes), kind, element, text: { zh, en }, by: null, told: null, values: null, files: [], ...extra })
const theCase = () => ({
  id: 'c1', number: '2026-1124-0001', process: 'hydrant-pressure', process_title: { zh: '消火栓水压处置', en: 'Hydrant pressure' }, version: 1, title: tasks[0].title, area: ref('jz'), place: tasks[0].place, severity: 'yellow', state: 'open', opened_at: ago(46), closed_at: null, due_at: ago(-600), outcome: null,
  alerts: burst.map(({ id, number, title, thing, place, state }) => ({ id, number, title, thing, place, state })), data: {},
  tokens: [{ element: 'repair', since: ago(20) }], passed: ['start', 'f_start', 'notify-residents', 'sign', 'f_sign', 'verify', 'real'], tasks: tasks.filter((task) => task.case === '2026-1124-0001'),
  timeline: [
    entry(46, 'case.opened', 'start', '消火栓水压处置', 'Hydrant pressure'),
    ...burst.slice(1).map((alert) => entry(45.9, 'alert.joined', null, `${alert.place.zh} ${alert.number}`, `${alert.place.en} ${alert.number}`)),
    entry(45.8, 'notice.sent', 'notify-residents', '3 栋居民', 'Residents of building 3'),
    entry(45.8, 'task.opened', 'sign', '签收', 'Sign', { told: [told('周敏', '物业值班岗', '加州花园'), told('唐强', '物业值班岗', '加州花园')] }),
    entry(44, 'task.completed', 'sign', '签收', 'Signed', { by: '周敏' }),
    entry(43.9, 'task.opened', 'verify', '核实', 'Verify', { told: [told('周敏', '物业值班岗', '加州花园')] }),
    entry(33, 'task.escalated', 'verify', '10 分钟未完成，上报社区', 'Not done within 10 min, raised to the community', { told: [told('何丽', '社区值班岗', '嘉州社区')] }),
    entry(21, 'task.completed', 'verify', '属实', 'It is real', { by: '周敏', values: { outcome: 'real', note: '3 栋 1 单元消防立管 6 层处爆裂，水已漫到电梯厅。' }, files: [{ id: 'p1', name: 'a.jpg', media_type: 'image/jpeg', size: 1 }, { id: 'p2', name: 'b.jpg', media_type: 'image/jpeg', size: 1 }] }),
    entry(20, 'task.opened', 'repair', '维修', 'Repair', { told: [told('周敏', '物业值班岗', '加州花园')] }),
  ],
})
const notices = [
  { id: uuid(), area: ref('jz-03'), severity: 'yellow', title: { zh: '3 栋消防水压偏低，正在处理', en: 'Low fire water pressure in building 3, being repaired' }, body: { zh: '今天 14:20 起，3 栋部分楼层的消火栓水压偏低，物业正在维修。\n家里用水不受影响。维修期间请不要使用明火，发现险情请立即拨打 119。', en: 'Since 14:20 today the hydrants on some floors of building 3 have low pressure. The property company is repairing it.\nWater in your home is not affected. Please use no open fire meanwhile; in an emergency call 119.' }, state: 'current', published_at: ago(46), ended_at: null },
  { id: uuid(), area: ref('jz-03'), severity: 'yellow', title: { zh: '3 栋消防水压已恢复', en: 'Fire water pressure in building 3 is back' }, body: { zh: '3 栋消火栓水压已恢复正常。', en: 'The hydrants of building 3 work as usual.' }, state: 'ended', published_at: ago(3000), ended_at: ago(2800) },
]
const photo = () => Buffer.from('iVBORw0KGgoAAAANSUhEUgAAAAgAAAAGCAIAAABxZ0isAAAAKUlEQVQI12NgYGBg+A8FDAwMjP9BgImBgYGRkZGRgQELYGLAAbBKAADk3QoFq3nTAgAAAABJRU5ErkJggg==', 'base64')

// ---- who
const ALL = ['situation:read', 'thing:read', 'alert:read', 'case:read', 'task:read', 'task:complete', 'task:hand-over', 'file:read', 'file:write', 'area:read', 'notice:read', 'process:read']
const WHO = {
  officer: { name: '何丽', area: '500112011', permissions: ALL, duties: [], title: { zh: '街道干部', en: 'Street officer' } },
  district: { name: '陈科', area: '500112', permissions: ALL, duties: [], title: { zh: '区应急', en: 'District officer' } },
  property: { name: '周敏', area: 'jz', permissions: ALL, duties: ['property-duty'], title: { zh: '物业', en: 'Property manager' } },
  resident: { name: '李奶奶', area: 'jz-03', permissions: ['notice:read', 'area:read'], duties: [], title: { zh: '居民', en: 'Resident' } },
}
const sessions = new Map()
const sessionOf = (login, csrf) => {
  const who = WHO[login]
  return { person: { id: `p-${login}`, login, name: who.name }, csrf, grants: [{ role: login, role_title: who.title, area: ref(who.area), permissions: who.permissions }], duties: who.duties.map((post) => ({ post, post_title: POST[post], area: ref(who.area) })), expires_at: ago(-600) }
}

// ---- the stream
let streams = []
let position = 100
let dropped = 0
let failing = false
const tell = (kind, data) => {
  position += 1
  for (const stream of streams) stream.write(`id: ${position}\nevent: ${kind}\ndata: ${JSON.stringify({ position, ...data })}\n\n`)
}
setInterval(() => {
  const items = []
  for (const thing of things) {
    if (thing.state === 'offline' || thing.state === 'unknown' || random() > 0.06) continue
    const next = Math.max(0, thing.value + (random() - 0.5) * 0.004)
    thing.value = next
    items.push([thing.key, new Date().toISOString(), Number(next.toFixed(3)), 0])
  }
  for (const stream of streams) stream.write(`event: values\ndata: ${JSON.stringify({ at: new Date().toISOString(), items })}\n\n`)
}, 1000)
setInterval(() => streams.forEach((stream) => stream.write('event: ping\ndata: {}\n\n')), 15_000)

const under = (path) => (item) => !path || (item.area.path ?? ref(item.area).path).startsWith(path)
const server = createServer(async (request, response) => {
  const url = new URL(request.url, 'http://x')
  const path = decodeURIComponent(url.pathname)
  const send = (status, body, headers = {}) => {
    response.writeHead(status, { 'Content-Type': status >= 400 ? 'application/problem+json' : 'application/json', ...headers })
    response.end(body === undefined ? '' : JSON.stringify(body))
  }
  const problem = (status, kind, extra = {}, headers = {}) => send(status, { type: `/problems/${kind}`, title: kind, status, ...extra }, headers)
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  const body = Buffer.concat(chunks)
  const json = () => JSON.parse(body.toString() || '{}')

  if (path.startsWith('/mock/')) {
    if (path === '/mock/alert') {
      const thing = things.find((one) => one.siting === 'outdoor' && one.state === 'normal')
      const alert = openAlert(thing, 'red', 0, false)
      tell('alert.opened', { number: alert.number, thing: alert.thing, severity: alert.severity, title: alert.title, place: alert.place, area: alert.area.path })
    }
    if (path === '/mock/drop') {
      dropped = Date.now() + 15_000
      streams.forEach((stream) => stream.socket.destroy())
      streams = []
    }
    if (path === '/mock/fail') failing = url.searchParams.get('on') === '1'
    if (path === '/mock/taken') Object.assign(tasks[2], { state: 'completed', completed_by: '唐强', completed_at: ago(0), actions: [] })
    return send(200, {})
  }
  if (!path.startsWith('/api/')) {
    const file = normalize(join(dist, path))
    const found = file.startsWith(dist) && existsSync(file) && statSync(file).isFile()
    if (!found && path.startsWith('/assets/')) return problem(404, 'not-found')
    const chosen = found ? file : join(dist, 'index.html')
    const type = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css', '.svg': 'image/svg+xml', '.webmanifest': 'application/manifest+json' }[extname(chosen)] ?? 'application/octet-stream'
    response.writeHead(200, { 'Content-Type': type, 'Content-Security-Policy': CSP })
    return createReadStream(chosen).pipe(response)
  }
  if (failing) return problem(503, 'unavailable')
  if (path === '/api/v1/version') return send(200, { version: '0.1.0', demo: true, time_zone: 'Asia/Shanghai', process_speed: 60 })
  if (path === '/api/v1/session' && request.method === 'POST') {
    const { login, password } = json()
    if (password === 'slow') return problem(429, 'throttled', {}, { 'Retry-After': '12' })
    if (password === 'x' || !WHO[login]) return problem(401, 'wrong-credentials')
    const token = uuid()
    sessions.set(token, sessionOf(login, uuid()))
    return send(200, sessions.get(token), { 'Set-Cookie': `zs_session=${token}; HttpOnly; SameSite=Strict; Path=/` })
  }
  const token = /zs_session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1]
  const session = sessions.get(token)
  if (!session) return problem(401, 'unauthenticated')
  if (request.method !== 'GET' && request.headers['x-csrf-token'] !== session.csrf) return problem(403, 'csrf')
  if (path === '/api/v1/session') {
    if (request.method === 'DELETE') {
      sessions.delete(token)
      return send(204)
    }
    return send(200, session)
  }
  if (path === '/api/v1/events') {
    if (Date.now() < dropped) return request.socket.destroy()
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' })
    response.write('retry: 1000\nevent: ping\ndata: {}\n\n')
    streams.push(response)
    request.on('close', () => (streams = streams.filter((stream) => stream !== response)))
    return
  }
  const area = url.searchParams.get('area') ?? ''
  let match
  if (path === '/api/v1/areas') {
    const level = url.searchParams.get('level')
    return send(200, { items: AREAS.filter((one) => one.path.startsWith(url.searchParams.get('under') ?? '') && (!level || one.level === level)), next: null })
  }
  if ((match = /^\/api\/v1\/areas\/([^/]+)\/features$/.exec(path))) return send(200, match[1] === '50' ? { type: 'FeatureCollection', features: [] } : features)
  if ((match = /^\/api\/v1\/areas\/([^/]+)$/.exec(path))) {
    const found = AREAS.find((one) => one.code === match[1])
    return found ? send(200, found) : problem(404, 'not-found')
  }
  if (path === '/api/v1/map/things') return send(200, { at: ago(0), items: things.filter((thing) => !area || ref(thing.area).path.startsWith(area)).map((thing) => ({ code: thing.code, key: thing.key, name: thing.name, lon: thing.lonlat[0], lat: thing.lonlat[1], area: ref(thing.area).path, floor: thing.floor, siting: thing.siting, state: thing.state, severity: thing.severity, value: thing.state === 'unknown' ? null : Number(thing.value.toFixed(3)), unit: 'MPa', time: ago(0.2) })) })
  if ((match = /^\/api\/v1\/things\/([^/]+)$/.exec(path))) {
    const thing = things.find((one) => one.code === match[1])
    if (!thing) return problem(404, 'not-found')
    return send(200, { id: uuid(), code: thing.code, name: thing.name, type: 'fire-hydrant', type_title: { zh: '消火栓', en: 'Fire hydrant' }, area: ref(thing.area), place: thing.place, location: thing.lonlat, properties: { main: thing.main, siting: thing.siting }, public: true, state: thing.state, severity: thing.severity, datastreams: [{ key: thing.key, code: 'pressure', name: { zh: '水压', en: 'Pressure' }, observed_property: 'water-pressure', unit: 'MPa', decimals: 3, interval_seconds: 30, last: thing.state === 'unknown' ? null : { time: ago(0.3), value: Number(thing.value.toFixed(3)), quality: 0 } }] })
  }
  if ((match = /^\/api\/v1\/datastreams\/(\d+)\/observations$/.exec(path))) {
    const thing = things.find((one) => one.key === Number(match[1]))
    const alert = alerts.find((one) => one.thing === thing.code)
    const from = Date.parse(url.searchParams.get('from'))
    const points = []
    for (let time = from; time < Date.now(); time += 30_000) {
      const day = Math.sin((time / 86_400_000) * 4 * Math.PI) * 0.02
      const fallen = alert && time > Date.parse(alert.opened_at) - 30_000
      points.push([new Date(time).toISOString(), Number(((fallen ? thing.value : thing.base + day) + Math.sin(time / 7000) * 0.003).toFixed(3)), 0])
    }
    return send(200, { key: thing.key, unit: 'MPa', decimals: 3, points, thresholds: thresholdsOf(thing) })
  }
  if (path === '/api/v1/situation') {
    const mine = things.filter((thing) => !area || ref(thing.area).path.startsWith(area))
    const count = (state) => mine.filter((thing) => thing.state === state).length
    const open = alerts.filter((alert) => alert.state !== 'resolved').filter(under(area))
    const hour = Math.floor(Date.now() / 3_600_000) * 3_600_000
    return send(200, {
      at: ago(0), area: ref('jz'), things: { total: mine.length, normal: count('normal'), alert: count('alert'), offline: count('offline'), unknown: count('unknown') },
      alerts: { open: Object.fromEntries(LEVELS.map((level) => [level, open.filter((alert) => alert.severity === level).length])), unacknowledged: open.filter((alert) => alert.state === 'open').length, opened_last_hour: 23, opened_previous_hour: 5 },
      hours: Array.from({ length: 24 }, (_, i) => ({ start: new Date(hour - (23 - i) * 3_600_000).toISOString(), opened: i === 23 ? 23 : Math.round(3 + 3 * Math.sin(i / 3) + (i % 5)), opened_day_before: Math.round(4 + 3 * Math.sin(i / 3.4) + (i % 3)) })),
      by_rule: [{ rule: 'hydrant-low-pressure', title: { zh: '消火栓水压低', en: 'Low hydrant pressure' }, open: open.filter((alert) => alert.rule === 'hydrant-low-pressure').length }, { rule: 'hydrant-silent', title: { zh: '消火栓失联', en: 'Hydrant silent' }, open: open.filter((alert) => alert.rule === 'hydrant-silent').length }],
    })
  }
  if (path === '/api/v1/alerts.csv') {
    response.writeHead(200, { 'Content-Type': 'text/csv; charset=utf-8', 'Content-Disposition': 'attachment; filename="alerts.csv"' })
    return response.end('﻿number\r\n')
  }
  if (path === '/api/v1/alerts') {
    const levels = url.searchParams.get('severity')?.split(',')
    const q = url.searchParams.get('q') ?? ''
    const all = alerts.filter(under(area)).filter((alert) => (!levels || levels.includes(alert.severity)) && (!q || `${alert.number}${alert.title.zh}${alert.title.en}${alert.place.zh}${alert.place.en}${alert.thing}`.toLowerCase().includes(q.toLowerCase()))).sort(order)
    const from = Number(url.searchParams.get('after') ?? 0)
    const limit = Math.min(20, Number(url.searchParams.get('limit') ?? 50))
    return send(200, { items: all.slice(from, from + limit), next: from + limit < all.length ? String(from + limit) : null })
  }
  if ((match = /^\/api\/v1\/alerts\/([^/]+)$/.exec(path))) {
    const alert = alerts.find((one) => one.number === match[1] || one.id === match[1])
    if (!alert) return problem(404, 'not-found')
    const thing = things.find((one) => one.code === alert.thing)
    const changes = [{ at: alert.opened_at, kind: 'opened', severity: alert.severity, value: alert.value, by: null, text: null }]
    if (alert.acknowledged_at) changes.push({ at: alert.acknowledged_at, kind: 'acknowledged', severity: null, value: null, by: alert.acknowledged_by, text: null })
    return send(200, { ...alert, changes, thresholds: thresholdsOf(thing) })
  }
  if (path === '/api/v1/cases') {
    const of = url.searchParams.get('alert')
    const one = theCase()
    return send(200, { items: of && !burst.some((alert) => alert.id === of) ? [] : of ? [one] : [one, { ...one, id: 'c2', number: '2026-1124-0002', due_at: ago(12) }, { ...one, id: 'c3', number: '2026-1124-0003', due_at: null }], next: null })
  }
  if (/^\/api\/v1\/cases\//.test(path)) return send(200, theCase())
  if (/^\/api\/v1\/processes\/.*\/bpmn$/.test(path)) {
    const file = join(packs, 'processes/hydrant-pressure.bpmn')
    if (!existsSync(file)) return problem(404, 'not-found')
    response.writeHead(200, { 'Content-Type': 'application/xml' })
    return response.end(readFileSync(file))
  }
  if (path === '/api/v1/tasks') {
    const state = url.searchParams.get('state')
    return send(200, { items: tasks.filter((task) => (state === 'open' ? task.state === 'open' : state === 'done' ? task.state !== 'open' : true)), next: null })
  }
  if ((match = /^\/api\/v1\/tasks\/([^/]+)$/.exec(path))) {
    const task = tasks.find((one) => one.id === match[1])
    if (!task) return problem(404, 'not-found')
    const index = STEPS.findIndex(([element]) => element === task.element)
    return send(200, { ...task, form: { key: task.element, schema: formOf(task.element), ui: null }, data: {}, steps: STEPS.map(([element, zh, en], i) => ({ element, name: { zh, en }, state: i < index ? 'done' : i === index ? 'current' : 'ahead' })), alert: { number: burst[0].number, id: burst[0].id, thing: burst[0].thing, datastream: burst[0].datastream, value: 0.171, unit: 'MPa' } })
  }
  if ((match = /^\/api\/v1\/tasks\/([^/]+)\/complete$/.exec(path))) {
    const task = tasks.find((one) => one.id === match[1])
    if (task.state !== 'open') return problem(409, 'task-not-open', { by: task.completed_by, at: task.completed_at })
    Object.assign(task, { state: 'completed', completed_by: session.person.name, completed_at: ago(0), actions: [], outcome: json().values.outcome })
    tell('task.completed', { id: task.id })
    return send(200, task)
  }
  if (/\/candidates$/.test(path)) return send(200, { items: [{ id: 'p2', name: '唐强' }, { id: 'p3', name: '罗建国' }] })
  if ((match = /^\/api\/v1\/tasks\/([^/]+)\/hand-over$/.exec(path))) {
    const task = tasks.find((one) => one.id === match[1])
    Object.assign(task, { assignee: { id: 'p2', name: '唐强' }, actions: [] })
    return send(200, task)
  }
  if (path === '/api/v1/files' && request.method === 'POST') return send(201, { id: uuid(), name: 'photo.jpg', media_type: 'image/jpeg', size: body.length })
  if (/^\/api\/v1\/files\//.test(path)) {
    response.writeHead(200, { 'Content-Type': 'image/png' })
    return response.end(photo())
  }
  if (path === '/api/v1/notices') return send(200, { items: notices, next: null })
  return problem(404, 'not-found')
})
server.listen(port, '127.0.0.1', () => console.log(`mock hub on http://127.0.0.1:${port}`))
