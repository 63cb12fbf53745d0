// Reads the forms of packs: a small, named part of JSON Schema 2020-12 with our `x-` words.
// What this reader does not know it does not draw; the server validates by the whole schema.
import type { Text } from '@/api/contract'

export type FieldKind = 'text' | 'long-text' | 'number' | 'boolean' | 'choice' | 'files'

export interface Field {
  name: string
  kind: FieldKind
  title: Text
  help: Text | null
  required: boolean
  options: { value: string; title: Text }[]
  maxLength: number | null
  minLength: number | null
  minimum: number | null
  maximum: number | null
  integer: boolean
  minItems: number
  maxItems: number
  accept: string
  initial: unknown
}

export interface Form {
  fields: Field[]
  /** The choice that is drawn as buttons at the bottom; its value is what submits the form. */
  primary: Field | null
}

type Raw = Record<string, unknown>

function record(value: unknown): Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : {}
}
function texts(value: unknown, fallback: string): Text {
  const raw = record(value)
  const zh = typeof raw['zh'] === 'string' ? raw['zh'] : fallback
  return { zh, en: typeof raw['en'] === 'string' && raw['en'] !== '' ? raw['en'] : zh }
}
function number(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function field(name: string, raw: Raw, required: boolean): Field | null {
  const items = record(raw['items'])
  // A constant is a choice of one: a button that can only be pressed.
  const values = Array.isArray(raw['enum']) ? raw['enum'] : 'const' in raw ? [raw['const']] : null
  let kind: FieldKind
  if (raw['type'] === 'array' && (items['format'] === 'file-id' || raw['format'] === 'file')) kind = 'files'
  else if (values) kind = 'choice'
  else if (raw['type'] === 'boolean') kind = 'boolean'
  else if (raw['type'] === 'number' || raw['type'] === 'integer') kind = 'number'
  else if (raw['type'] === 'string') kind = (number(raw['maxLength']) ?? 0) > 100 ? 'long-text' : 'text'
  else return null
  const titles = record(raw['x-enum-titles'])
  return {
    name,
    kind,
    title: texts(raw['x-title'], typeof raw['title'] === 'string' ? raw['title'] : name),
    help: raw['x-help'] === undefined ? null : texts(raw['x-help'], ''),
    required,
    options: (values ?? []).filter((value) => typeof value === 'string').map((value) => ({ value, title: texts(titles[value], value) })),
    maxLength: number(raw['maxLength']),
    minLength: number(raw['minLength']),
    minimum: number(raw['minimum']),
    maximum: number(raw['maximum']),
    integer: raw['type'] === 'integer',
    minItems: number(raw['minItems']) ?? 0,
    maxItems: number(raw['maxItems']) ?? 6,
    accept: typeof raw['x-accept'] === 'string' ? raw['x-accept'] : 'image/*',
    initial: raw['default'],
  }
}

export function readForm(schema: object | null | undefined): Form {
  const root = record(schema)
  const required = new Set(Array.isArray(root['required']) ? root['required'] : [])
  const fields: Field[] = []
  let primary: Field | null = null
  for (const [name, value] of Object.entries(record(root['properties']))) {
    const raw = record(value)
    const found = field(name, raw, required.has(name))
    if (!found) continue
    if (primary === null && found.kind === 'choice' && raw['x-primary'] === true) primary = found
    else fields.push(found)
  }
  return { fields, primary }
}

export type Values = Record<string, unknown>

export function initialValues(form: Form): Values {
  const values: Values = {}
  for (const item of form.fields) {
    if (item.kind === 'files') values[item.name] = []
    else if (item.kind === 'boolean') values[item.name] = item.initial === true
    else values[item.name] = item.initial ?? ''
  }
  return values
}

export type Fault = { kind: 'required' } | { kind: 'too-long' | 'too-short' | 'too-few' | 'too-many' | 'below' | 'above'; limit: number } | { kind: 'not-a-number' | 'not-whole' }

/** What stands in the way of sending the values, by field name; empty = nothing. */
export function validate(form: Form, values: Values): Record<string, Fault> {
  const faults: Record<string, Fault> = {}
  for (const item of form.fields) {
    const fault = check(item, values[item.name])
    if (fault) faults[item.name] = fault
  }
  return faults
}

function check(item: Field, value: unknown): Fault | null {
  if (item.kind === 'files') {
    const count = Array.isArray(value) ? value.length : 0
    const least = Math.max(item.minItems, item.required ? 1 : 0)
    if (count < least) return least === 1 ? { kind: 'required' } : { kind: 'too-few', limit: least }
    return count > item.maxItems ? { kind: 'too-many', limit: item.maxItems } : null
  }
  if (item.kind === 'boolean') return null
  const text = String(value ?? '').trim()
  if (text === '') return item.required ? { kind: 'required' } : null
  if (item.kind === 'number') {
    const figure = Number(text)
    if (!Number.isFinite(figure)) return { kind: 'not-a-number' }
    if (item.integer && !Number.isInteger(figure)) return { kind: 'not-whole' }
    if (item.minimum !== null && figure < item.minimum) return { kind: 'below', limit: item.minimum }
    return item.maximum !== null && figure > item.maximum ? { kind: 'above', limit: item.maximum } : null
  }
  // Characters as people (and JSON Schema) count them, not UTF-16 units.
  const length = [...text].length
  if (item.minLength !== null && length < item.minLength) return { kind: 'too-short', limit: item.minLength }
  return item.maxLength !== null && length > item.maxLength ? { kind: 'too-long', limit: item.maxLength } : null
}

/** The values as the server wants them: typed, and without what was left empty. */
export function outgoing(form: Form, values: Values, outcome: string | null): Values {
  const sent: Values = {}
  for (const item of form.fields) {
    const value = values[item.name]
    if (item.kind === 'files') {
      if (Array.isArray(value) && value.length > 0) sent[item.name] = value
    } else if (item.kind === 'boolean') sent[item.name] = value === true
    else {
      const text = String(value ?? '').trim()
      if (text !== '') sent[item.name] = item.kind === 'number' ? Number(text) : text
    }
  }
  if (form.primary && outcome !== null) sent[form.primary.name] = outcome
  return sent
}
