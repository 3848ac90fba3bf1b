// Drives the server with the official Node client; prints what happened as one JSON object.
// Environment: OTEL_URL, READONLY_URL (http://user:password@host:port/database).
import { createClient } from '@clickhouse/client'

function connect(url, extra = {}) {
  const { protocol, host, username, password, pathname } = new URL(url)
  return createClient({
    url: `${protocol}//${host}`,
    username,
    password,
    database: pathname.slice(1),
    request_timeout: 30000,
    max_open_connections: 16,
    ...extra,
  })
}

async function refusal(promise) {
  try {
    await promise
    return null
  } catch (error) {
    return error.code ?? error.message
  }
}

const rows = async (client, query) => (await client.query({ query, format: 'JSONEachRow' })).json()
const writer = connect(process.env.OTEL_URL)
const reader = connect(process.env.READONLY_URL)
const report = {}

report.ping = (await writer.ping()).success
await writer.command({ query: 'CREATE TABLE node (id UInt64, text String) ENGINE = MergeTree ORDER BY id' })
const values = Array.from({ length: 1000 }, (_, id) => ({ id, text: `größer ${id} 🙂` }))
await writer.insert({ table: 'node', values, format: 'JSONEachRow' })
report.stored = await rows(reader, 'SELECT toUInt32(count()) AS n, any(text) LIKE \'größer%\' AS unicode FROM node')

let streamed = 0
const result = await reader.query({ query: 'SELECT number FROM numbers(200000)', format: 'JSONCompactEachRow' })
for await (const part of result.stream()) streamed += part.length
report.streamed = streamed

const answers = await Promise.all(
  Array.from({ length: 16 }, (_, n) => rows(reader, `SELECT toUInt32(sum(id)) + ${n} AS sum FROM node`)),
)
report.concurrent = answers.map(([row]) => row.sum)

report.wrongPassword = await refusal(rows(connect(process.env.OTEL_URL, { password: 'wrong' }), 'SELECT 1'))
report.defaultUser = await refusal(rows(connect(process.env.OTEL_URL, { username: 'default', password: '' }), 'SELECT 1'))
report.readerInsert = await refusal(reader.insert({ table: 'node', values: [{ id: 1 }], format: 'JSONEachRow' }))
report.readerDrop = await refusal(reader.command({ query: 'DROP TABLE node' }))

const stop = new AbortController()
const cancelled = refusal(
  reader.query({
    query: 'SELECT sum(sleepEachRow(0.1)) FROM numbers(250) SETTINGS max_block_size = 1', // nothing to send before its end
    query_id: 'node-cancelled',
    abort_signal: stop.signal,
  }).then((answer) => answer.text()),
)
const running = () => rows(writer, "SELECT query_id FROM system.processes WHERE query_id = 'node-cancelled'")
for (let tries = 0; tries < 100 && (await running()).length === 0; tries++) await new Promise((r) => setTimeout(r, 50))
report.runningBeforeAbort = (await running()).length
stop.abort()
report.aborted = (await cancelled) !== null
for (let tries = 0; tries < 100 && (await running()).length > 0; tries++) await new Promise((r) => setTimeout(r, 50))
report.runningAfterAbort = (await running()).length

await writer.close()
await reader.close()
console.log(JSON.stringify(report))
