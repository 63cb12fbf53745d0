// Where the names of buildings, waters and streets stand: one point each, near what is looked at.
import type { Text } from '@/api/contract'
import { boundsOf } from './things'

type Spot = [number, number]

function points(geometry: GeoJSON.Geometry): Spot[] {
  if (geometry.type === 'Polygon') return (geometry.coordinates[0] ?? []).slice(0, -1) as Spot[]
  return geometry.type === 'LineString' ? (geometry.coordinates as Spot[]) : []
}

function mean(spots: readonly Spot[]): Spot {
  const [x, y] = spots.reduce<Spot>((sum, spot) => [sum[0] + spot[0], sum[1] + spot[1]], [0, 0])
  return [x / spots.length, y / spots.length]
}

function nearest(spots: readonly Spot[], to: Spot): Spot | null {
  const far = (spot: Spot) => (spot[0] - to[0]) ** 2 + (spot[1] - to[1]) ** 2
  return spots.reduce<Spot | null>((best, spot) => (best && far(best) <= far(spot) ? best : spot), null)
}

/** Names that several streets or waters share say nothing about any of them and are left out. */
export function namePoints(features: GeoJSON.FeatureCollection, say: (text: Text | undefined) => string): GeoJSON.FeatureCollection<GeoJSON.Point> {
  const named = features.features.filter((feature) => ['building', 'water', 'road'].includes(feature.properties?.['kind'] as string) && feature.properties?.['context'] !== true)
  const label = (feature: GeoJSON.Feature) => say(feature.properties?.['name'] as Text | undefined)
  const seen = new Map<string, number>()
  for (const feature of named) seen.set(label(feature), (seen.get(label(feature)) ?? 0) + 1)

  const box = boundsOf(features)
  const middle: Spot = box ? [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2] : [0, 0]
  const result: GeoJSON.Feature<GeoJSON.Point>[] = []
  for (const feature of named) {
    const kind = feature.properties?.['kind'] as string
    const text = label(feature)
    const spots = points(feature.geometry)
    if (text === '' || spots.length === 0 || (kind !== 'building' && seen.get(text) !== 1)) continue
    const at = feature.geometry.type === 'LineString' ? nearest(spots, middle) : mean(spots)
    if (at) result.push({ type: 'Feature', geometry: { type: 'Point', coordinates: at }, properties: { kind, label: text } })
  }
  return { type: 'FeatureCollection', features: result }
}
