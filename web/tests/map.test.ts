import { describe, expect, it } from 'vitest'
import type { MapThing } from '@/api/contract'
import { namePoints } from '@/map/names'
import { boundsOf, countGroups, featuresByGroup, groupOf, signature } from '@/map/things'

const thing = (code: string, more: Partial<MapThing>): MapThing => ({ code, key: 1, name: { zh: '', en: '' }, lon: 106.5, lat: 29.5, area: '50/', floor: null, siting: null, state: 'normal', severity: null, value: null, unit: '', time: null, ...more })
const square = (x: number, y: number): GeoJSON.Polygon => ({ type: 'Polygon', coordinates: [[[x, y], [x + 2, y], [x + 2, y + 2], [x, y + 2], [x, y]]] })
const feature = (geometry: GeoJSON.Geometry, kind: string, zh: string, more = {}): GeoJSON.Feature => ({ type: 'Feature', geometry, properties: { kind, name: { zh, en: zh }, ...more } })

describe('things on the map', () => {
  it.each([
    [{ state: 'alert', severity: 'red' }, 'red'],
    [{ state: 'alert', severity: null }, 'blue'],
    [{ state: 'offline', severity: 'blue' }, 'offline'],
    [{ state: 'unknown', severity: null }, 'unknown'],
    [{ state: 'normal', severity: null }, 'normal'],
  ] as const)('%j is drawn %s', (more, group) => {
    expect(groupOf(more)).toBe(group)
  })

  it('are counted once each and stand in one layer each', () => {
    const things = [thing('a', { state: 'alert', severity: 'red' }), thing('b', {}), thing('c', { state: 'offline', severity: 'blue' })]
    expect(countGroups(things)).toMatchObject({ red: 1, normal: 1, offline: 1, blue: 0 })
    expect(Object.values(featuresByGroup(things)).flatMap((group) => group.features)).toHaveLength(3)
  })

  it('are drawn anew when a state changes, not when a value does', () => {
    const before = signature([thing('a', { value: 1 })])
    expect(signature([thing('a', { value: 2 })])).toBe(before)
    expect(signature([thing('a', { state: 'offline' })])).not.toBe(before)
  })
})

describe('the map', () => {
  const features: GeoJSON.FeatureCollection = {
    type: 'FeatureCollection',
    features: [
      feature(square(0, 0), 'estate', '加州花园'), feature(square(50, 50), 'context-building', '周边建筑'), feature(square(0, 0), 'building', '1 栋'),
      feature({ type: 'LineString', coordinates: [[-90, 0], [1, 3], [90, 0]] }, 'road', '南街'),
      feature({ type: 'LineString', coordinates: [[0, 0], [1, 1]] }, 'road', '道路'), feature({ type: 'LineString', coordinates: [[0, 0], [1, 1]] }, 'road', '道路'),
      feature(square(9, 9), 'water', '湖', { context: true }),
    ],
  }
  it('shows the estate first', () => {
    expect(boundsOf(features)).toEqual([0, 0, 2, 2])
    expect(boundsOf({ type: 'FeatureCollection', features: [] })).toBeNull()
  })
  it('names each building and street once, near the middle, and not what shares its name', () => {
    expect(namePoints(features, (text) => text?.zh ?? '').features.map((one) => [one.properties?.['label'], one.geometry.coordinates])).toEqual([['1 栋', [1, 1]], ['南街', [1, 3]]])
  })
})
