// The names by which pages know what the hub's document (openapi.json) describes. The types are
// generated (`npm run gen`); what OpenAPI says too loosely is made exact here, and only here.
import type { components } from './schema.gen'

export type { paths } from './schema.gen'

/** Members whose schema in the document is looser than what the hub sends. */
interface Refined {
  /** Longitude and latitude, WGS-84. */
  location: [number, number] | null
  /** Time, value, quality: the client turns tuples into lists. */
  points: [string, number, number][]
  /** Cells of a query's answer. */
  rows: (string | number | boolean | null)[][]
  data: Record<string, unknown>
  values: Record<string, unknown> | null
  properties: Record<string, unknown>
  schema: object
  /** Facts of an entry of the audit, by its action. */
  detail: Record<string, unknown>
  ui: object | null
}

/**
 * An answer as it comes: the hub writes every member, `null` where there is nothing, while the
 * document lets members that may be null be left out.
 */
export type Exact<T> = T extends object ? { [K in keyof T]-?: K extends keyof Refined ? Refined[K] : Exact<T[K]> } : T

type Schemas = components['schemas']
type Answer<K extends keyof Schemas> = Exact<Schemas[K]>

export type Severity = Schemas['Severity']
export type Text = Schemas['Text']
export interface Page<T> { items: T[]; next: string | null }

/** RFC 9457; members beside the standard ones depend on the kind. */
export interface Problem extends Pick<Schemas['Problem'], 'type' | 'title' | 'status' | 'detail'> {
  /** 409 task-not-open: who did it, and when. */
  by?: string | null
  at?: string | null
  /** 422: what is wrong with which value; `path` is a JSON pointer into the body. */
  errors?: FieldFault[]
  /** query-statement: where it is wrong, both from 1. */
  line?: number
  column?: number
  /** sweep-running: the sweep that asks the same devices. */
  number?: string
}
export interface FieldFault { path: string; message: Text }

export type QueryColumnKind = Schemas['ColumnKind']
export type QueryCell = string | number | boolean | null
export type QueryAnswer = Answer<'QueryAnswer'>
export type QueryTable = Answer<'QueryTable'>

export type Session = Answer<'Session'>
export type Account = Answer<'Account'>
export type OpenSession = Answer<'OpenSession'>
export type AccountLink = Answer<'AccountLink'>
export type SecondFactorSecret = Answer<'SecondFactorSecret'>
export type AccountState = Schemas['AccountState']
export type PersonalField = Schemas['PersonalField']
export type PersonAccount = Answer<'PersonAccount'>
export type NewLink = Answer<'NewLink'>
export type AuditEntry = Answer<'AuditEntry'>
export type Role = Answer<'Role'>
export type Post = Answer<'Post'>
export type Version = Answer<'Version'>
export type AreaLevel = Schemas['AreaLevel']
export type AreaRef = Answer<'AreaRef'>
export type Area = Answer<'Area'>

export type ThingState = Schemas['ThingState']
export type Thing = Answer<'Thing'>
export type Datastream = Answer<'Datastream'>
export type MapThing = Answer<'MapThing'>
export type MapThings = Answer<'MapThings'>
export type Curve = Answer<'Curve'>
export type Threshold = Answer<'Threshold'>

export type Situation = Answer<'Situation'>
export type Alert = Answer<'Alert'>
export type AlertChange = Answer<'AlertChange'>
export type AlertDetail = Answer<'AlertDetail'>

export type Case = Answer<'Case'>
export type CaseDetail = Answer<'CaseDetail'>
export type TimelineEntry = Answer<'TimelineEntry'>
export type Task = Answer<'Task'>
export type TaskDetail = Answer<'TaskDetail'>
export type Candidate = Answer<'PersonRef'>

export type DeliveryState = Schemas['DeliveryState']
export type Delivery = Answer<'Delivery'>
export type InboxMessage = Answer<'InboxMessage'>
export type Contact = Answer<'Contact'>
export type Sweep = Answer<'Sweep'>
export type SweepCounts = Answer<'SweepCounts'>
export type SweepRow = Answer<'SweepRow'>
export type SweepVerdict = Schemas['SweepVerdict']
export type SweepScopes = Answer<'SweepScopes'>
export type SweepScope = Answer<'SweepScope'>
export type SweepComparison = Answer<'SweepComparison'>
export type SweepSchedule = Answer<'SweepSchedule'>

export type FileRef = Answer<'FileRef'>
export type Notice = Answer<'Notice'>
