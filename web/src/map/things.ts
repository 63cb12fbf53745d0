// Sorts the things of an area into the map's layers.
import type { MapThing, Severity } from '@/api/contract'

export type Group = Severity | 'offline' | 'normal' | 'unknown'
export const GROUPS: readonly Group[] = ['normal', 'unknown', 'offline', 'blue', 'yellow', 'orange', 'red']

/** A thing that does not answer is drawn offline whatever its alert's level: what it would say is unknown. */
export function groupOf(thing: Pick<MapThing, 'state' | 'severity'>): Group {
  if (thing.state === 'offline') return 'offline'
  if (thing.state === 'unknown') return 'unknown'
  if (thing.state === 'alert') return thing.severity ?? 'blue'
  return 'normal'
}

export function countGroups(things: readonly MapThing[]): Record<Group, number> {
  const counts: Record<Group, number> = { red: 0, orange: 0, yellow: 0, blue: 0, offline: 0, normal: 0, unknown: 0 }
  for (const thing of things) counts[groupOf(thing)] += 1
  return counts
}

/** Says whether anything that the map draws has changed: values alone do not. */
export function signature(things: readonly MapThing[]): string {
  let text = ''
  for (const thing of things) text += `${thing.code}${groupOf(thing)};`
  return text
}

export function featuresByGroup(things: readonly MapThing[]): Record<Group, GeoJSON.FeatureCollection<GeoJSON.Point>> {
  const groups = Object.fromEntries(GROUPS.map((group) => [group, { type: 'FeatureCollection', features: [] }])) as unknown as Record<Group, GeoJSON.FeatureCollection<GeoJSON.Point>>
  for (const thing of things) {
    groups[groupOf(thing)].features.push({ type: 'Feature', geometry: { type: 'Point', coordinates: [thing.lon, thing.lat] }, properties: { code: thing.code, indoor: thing.siting === 'indoor' ? 1 : 0 } })
  }
  return groups
}

/** The box round the estates (or, without one, round the buildings): what the map shows first. */
export function boundsOf(features: GeoJSON.FeatureCollection): [number, number, number, number] | null {
  const kind = (feature: GeoJSON.Feature) => feature.properties?.['kind'] as string | undefined
  const estates = features.features.filter((feature) => kind(feature) === 'estate')
  const chosen = estates.length > 0 ? estates : features.features.filter((feature) => kind(feature) === 'building')
  let box: [number, number, number, number] | null = null
  const visit = (value: unknown): void => {
    if (!Array.isArray(value)) return
    if (typeof value[0] === 'number' && typeof value[1] === 'number') {
      const [x, y] = value as [number, number]
      box = box ? [Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y)] : [x, y, x, y]
    } else value.forEach(visit)
  }
  for (const feature of chosen) if ('coordinates' in feature.geometry) visit(feature.geometry.coordinates)
  return box
}
