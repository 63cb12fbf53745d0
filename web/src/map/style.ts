// The map's style: our own features, no base map, no glyph server. From below: ground, water,
// greens, roads, mains, buildings, names, devices, alerts.
import type { ExpressionSpecification, LayerSpecification, StyleSpecification } from 'maplibre-gl'
import { GROUPS, type Group } from './things'

const EMPTY: GeoJSON.FeatureCollection = { type: 'FeatureCollection', features: [] }
export const FONT = '"HarmonyOS Sans SC","PingFang SC","Microsoft YaHei","Noto Sans CJK SC",sans-serif'

const isKind = (...kinds: string[]): ExpressionSpecification => ['in', ['get', 'kind'], ['literal', kinds]]
const isArea: ExpressionSpecification = ['in', ['geometry-type'], ['literal', ['Polygon', 'MultiPolygon']]]
const isLine: ExpressionSpecification = ['in', ['geometry-type'], ['literal', ['LineString', 'MultiLineString']]]

/** Where a house's name may stand, seen from the house: below it first, and never so far that it seems to be a neighbour's. */
const BESIDE = ['top', [0, 1.75], 'left', [1.4, 0], 'top-left', [0, 1.4], 'top-right', [0, 1.4], 'bottom', [0, -1.9], 'right', [-2.2, 0]]

/** A road's width in metres; 0.241 and 7.7 px are a metre at zoom 14 and 19 on the latitude of Chongqing. */
const WIDTH: ExpressionSpecification = ['coalesce', ['get', 'width'], ['match', ['coalesce', ['get', 'class'], ''], 'internal', 5, 14]]

/** Symbols that lie on one another become one with a number; reds never do. */
const RADIUS: Record<Group, number | null> = { normal: 34, unknown: 34, offline: 18, blue: 16, yellow: 20, orange: 16, red: null }

/**
 * The hydrants of a house stand above one another: what is not normal steps beside the ring of the
 * rest, by so many pixels.
 */
export const STEP: Record<Group, [number, number]> = { normal: [0, 0], unknown: [-27, 0], offline: [25, 0], blue: [-16, -25], yellow: [0, -27], orange: [0, -27], red: [0, -27] }

export const THING_LAYERS: readonly string[] = GROUPS.map((group) => `things-${group}`)

export function mapStyle(unit: number): StyleSpecification {
  const layers: LayerSpecification[] = [
    { id: 'ground', type: 'background', paint: { 'background-color': '#11171D' } },
    { id: 'estate', type: 'fill', source: 'features', filter: ['all', isKind('estate'), isArea], paint: { 'fill-color': '#18212A' } },
    { id: 'green', type: 'fill', source: 'features', filter: ['all', isKind('green'), isArea], paint: { 'fill-color': '#18271F' } },
    { id: 'water', type: 'fill', source: 'features', filter: ['all', isKind('water'), isArea], paint: { 'fill-color': '#163040' } },
    { id: 'road-areas', type: 'fill', source: 'features', filter: ['all', isKind('road'), isArea], paint: { 'fill-color': '#2A353F' } },
    {
      id: 'roads', type: 'line', source: 'features', filter: ['all', isKind('road'), isLine], layout: { 'line-cap': 'round', 'line-join': 'round' },
      paint: { 'line-color': '#2A353F', 'line-width': ['interpolate', ['exponential', 2], ['zoom'], 14, ['*', 0.241, WIDTH], 19, ['*', 7.7, WIDTH]] },
    },
    { id: 'mains', type: 'line', source: 'features', filter: ['all', isKind('main'), isLine], paint: { 'line-color': '#4E738C', 'line-width': 1.6 * unit, 'line-dasharray': [4, 2] } },
    { id: 'estate-edge', type: 'line', source: 'features', filter: ['all', isKind('estate'), isArea], paint: { 'line-color': '#8493A1', 'line-width': 1.4 * unit, 'line-dasharray': [5, 3] } },
    {
      id: 'buildings', type: 'fill-extrusion', source: 'features', filter: ['all', isKind('building', 'context-building'), isArea],
      paint: {
        'fill-extrusion-color': ['case', isKind('building'), '#45525E', '#262F38'],
        'fill-extrusion-height': ['coalesce', ['get', 'height'], ['*', 3, ['coalesce', ['get', 'floors'], 6]]],
        'fill-extrusion-opacity': 0.9,
        'fill-extrusion-vertical-gradient': true,
      },
    },
    {
      id: 'names', type: 'symbol', source: 'names',
      layout: { 'text-field': ['get', 'label'], 'text-size': ['*', unit, ['match', ['get', 'kind'], 'road', 14, 14]], 'text-variable-anchor-offset': ['match', ['get', 'kind'], 'building', ['literal', BESIDE], ['literal', ['center', [0, 0], 'left', [1.2, 0], 'right', [-1.2, 0]]]], 'text-font': ['sans'], 'text-allow-overlap': false, 'text-optional': true, 'symbol-sort-key': ['match', ['get', 'kind'], 'building', 0, 1] },
      paint: { 'text-color': ['match', ['get', 'kind'], 'building', '#D3DBE3', '#8E9BA8'], 'text-halo-color': '#0E1318', 'text-halo-width': 1.7 * unit },
    },
  ]
  for (const group of GROUPS) {
    const many: ExpressionSpecification = ['has', 'point_count']
    const icon = group === 'normal' || group === 'unknown' ? group : group === 'offline' ? 'offline' : `level-${group}`
    const quiet = group === 'normal' || group === 'unknown'
    const [x, y] = STEP[group]
    const shifted = (dx: number, dy: number, em: number): ExpressionSpecification => ['case', ['==', ['get', 'indoor'], 1], ['literal', [dx + x / em, dy + y / em]], ['literal', [dx, dy]]]
    layers.push({
      id: `things-${group}`, type: 'symbol', source: `things-${group}`,
      layout: {
        'icon-image': quiet ? ['case', many, 'normal-many', icon] : icon,
        'icon-allow-overlap': true,
        // Names give way to symbols, symbols to nothing.
        'icon-ignore-placement': false,
        'icon-offset': shifted(0, 0, 1 / unit),
        'text-field': ['case', many, quiet ? ['to-string', ['get', 'point_count']] : ['concat', '×', ['to-string', ['get', 'point_count']]], ''],
        'text-font': ['sans'],
        'text-size': (quiet ? 12 : 14) * unit,
        'text-allow-overlap': true,
        'text-ignore-placement': false,
        'text-offset': quiet ? shifted(0, 0, 12) : shifted(group === 'offline' ? 0.8 : 1.1, 0, 14),
        ...(quiet ? {} : { 'text-anchor': 'left' as const }),
      },
      paint: { 'text-color': quiet ? '#C3CDD6' : '#E4EAF0', 'text-halo-color': '#0E1318', 'text-halo-width': 1.7 * unit },
    })
  }
  layers.push({ id: 'selected', type: 'symbol', source: 'selected', layout: { 'icon-image': 'selected', 'icon-offset': ['array', 'number', 2, ['get', 'step']], 'icon-allow-overlap': true, 'icon-ignore-placement': true } })

  const sources: StyleSpecification['sources'] = {
    features: { type: 'geojson', data: EMPTY },
    names: { type: 'geojson', data: EMPTY },
    selected: { type: 'geojson', data: EMPTY },
  }
  for (const group of GROUPS) {
    const radius = RADIUS[group]
    sources[`things-${group}`] = { type: 'geojson', data: EMPTY, ...(radius === null ? {} : { cluster: true, clusterRadius: radius * unit, clusterMaxZoom: 22, maxzoom: 23, clusterProperties: { indoor: ['min', ['get', 'indoor']] } }) }
  }
  return { version: 8, sources, layers, light: { anchor: 'viewport', color: '#FFF', intensity: 0.28, position: [1.2, 200, 40] } }
}
