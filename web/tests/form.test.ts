import { describe, expect, it } from 'vitest'
import { initialValues, outgoing, readForm, validate } from '@/forms/schema'

const REPAIR = {
  type: 'object',
  required: ['outcome', 'cause', 'photos'],
  properties: {
    outcome: { type: 'string', enum: ['done'], 'x-primary': true, 'x-enum-titles': { done: { zh: '维修完成', en: 'Repair done' } } },
    cause: { type: 'string', enum: ['burst', 'valve'], 'x-title': { zh: '原因', en: 'Cause' }, 'x-enum-titles': { burst: { zh: '爆裂', en: 'Burst' } } },
    note: { type: 'string', maxLength: 500 },
    short: { type: 'string', maxLength: 5, minLength: 2 },
    depth: { type: 'number', minimum: 0, maximum: 3 },
    count: { type: 'integer' },
    safe: { type: 'boolean' },
    photos: { type: 'array', items: { type: 'string', format: 'file-id' }, minItems: 1, maxItems: 2, 'x-accept': 'image/*' },
    odd: { type: 'object' },
  },
}
const form = readForm(REPAIR)

describe('the forms of packs', () => {
  it('reads the named conventions and skips what it does not know', () => {
    expect(form.primary?.options).toEqual([{ value: 'done', title: { zh: '维修完成', en: 'Repair done' } }])
    expect(form.fields.map((field) => [field.name, field.kind])).toEqual([['cause', 'choice'], ['note', 'long-text'], ['short', 'text'], ['depth', 'number'], ['count', 'number'], ['safe', 'boolean'], ['photos', 'files']])
    expect(form.fields[0]?.options[1]).toEqual({ value: 'valve', title: { zh: 'valve', en: 'valve' } })
  })

  it.each([null, undefined, {}, { properties: 'x' }, { properties: { a: null } }])('reads %j as a form without fields', (schema) => {
    expect(readForm(schema as object)).toEqual({ fields: [], primary: null })
  })

  it.each([
    [{}, { cause: { kind: 'required' }, photos: { kind: 'required' } }],
    [{ cause: 'burst', photos: ['a'] }, {}],
    [{ cause: 'burst', photos: ['a', 'b', 'c'] }, { photos: { kind: 'too-many', limit: 2 } }],
    [{ cause: 'burst', photos: ['a'], short: 'x' }, { short: { kind: 'too-short', limit: 2 } }],
    [{ cause: 'burst', photos: ['a'], short: '四个汉字' }, {}],
    [{ cause: 'burst', photos: ['a'], short: '𠮷𠮷𠮷𠮷𠮷' }, {}],
    [{ cause: 'burst', photos: ['a'], short: '一二三四五六' }, { short: { kind: 'too-long', limit: 5 } }],
    [{ cause: 'burst', photos: ['a'], depth: '-1' }, { depth: { kind: 'below', limit: 0 } }],
    [{ cause: 'burst', photos: ['a'], depth: '3.5' }, { depth: { kind: 'above', limit: 3 } }],
    [{ cause: 'burst', photos: ['a'], depth: 'deep' }, { depth: { kind: 'not-a-number' } }],
    [{ cause: 'burst', photos: ['a'], count: '1.5' }, { count: { kind: 'not-whole' } }],
    [{ cause: '  ', photos: ['a'] }, { cause: { kind: 'required' } }],
  ])('finds what stands in the way of %j', (values, faults) => {
    expect(validate(form, { ...initialValues(form), ...values })).toEqual(faults)
  })

  it('sends typed values without the empty ones, and the outcome of the button', () => {
    const values = { ...initialValues(form), cause: 'burst', depth: ' 1.5 ', note: '  ', safe: true, photos: ['a'] }
    expect(outgoing(form, values, 'done')).toEqual({ cause: 'burst', depth: 1.5, safe: true, photos: ['a'], outcome: 'done' })
  })
})
