// Subscribes with MQTT.js, publishes one message of 300 KB to itself, says what came, and ends.
//
//   node mqttjs_peer.cjs URL VERSION QOS [CA_FILE]

const fs = require('fs')
const mqtt = require('mqtt')

const [url, version, qosText, ca] = process.argv.slice(2)
const qos = Number(qosText)
const options = { reconnectPeriod: 0, protocolVersion: Number(version) }
if (ca) {
  options.ca = fs.readFileSync(ca)
}
const payload = Buffer.alloc(300000, 'dunlin ')
const client = mqtt.connect(url, options)
client.on('error', (error) => {
  console.error(String(error))
  process.exit(1)
})
client.on('connect', () => {
  client.subscribe('big', { qos }, () => client.publish('big', payload, { qos }))
})
client.on('message', (name, received) => {
  console.log(name, received.length, received.equals(payload))
  client.end(false, () => console.log('closed'))
})
