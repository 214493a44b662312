// Plays a client for `dunlin conformance --client` with MQTT.js.
//
// Subscribes with QoS 2, publishes with each QoS twice, prints what arrives, and goes on with its
// session whenever the connection is lost. Node.js has to find the package `mqtt`, e.g. by
// NODE_PATH.
//
//   dunlin conformance --client -- node mqttjs_client.cjs {url} {version} {client_id} {topic}

const mqtt = require('mqtt')

const [url, version, clientId, topic, role] = process.argv.slice(2)
const isV5 = version === '5'
const options = {
  clientId,
  clean: clientId === '',
  keepalive: 3,
  protocolVersion: isV5 ? 5 : 4,
  reconnectPeriod: 1000,
  reconnectOnConnackError: true
}
if (isV5) {
  options.properties = { sessionExpiryInterval: 300, topicAliasMaximum: 10, receiveMaximum: 20 }
}
const client = mqtt.connect(url, options)
client.on('message', (name, payload) => console.log(name, payload.toString()))
client.on('error', (error) => console.error(String(error)))
if (role !== 'pub') {
  client.subscribe(topic, { qos: 2 })
}
if (role !== 'sub') {
  for (let number = 0; number < 2; number++) {
    for (let qos = 0; qos < 3; qos++) {
      client.publish(`${topic}/own`, `number ${number} with QoS ${qos}`, { qos })
    }
  }
}
// Ended by whoever started it.
setTimeout(() => process.exit(), 60000)
