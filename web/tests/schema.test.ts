// @vitest-environment node
import { readFile } from 'node:fs/promises'
import openapiTS, { astToString } from 'openapi-typescript'
import { expect, it } from 'vitest'

it('the generated types are those of openapi.json: else `npm run gen`', async () => {
  const document: unknown = JSON.parse(await readFile('openapi.json', 'utf8'))
  const written = astToString(await openapiTS(document as Parameters<typeof openapiTS>[0]))
  const kept = await readFile('src/api/schema.gen.ts', 'utf8')
  // The command puts a comment of its own before what it writes.
  expect(kept.slice(kept.indexOf('export interface paths')).trim()).toBe(written.slice(written.indexOf('export interface paths')).trim())
}, 30_000)
