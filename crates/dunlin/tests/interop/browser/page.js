// Runs in a browser: speaks MQTT to itself by MQTT.js, and posts one line for each message to the
// site that the page is from, or how the connection failed.
//
//   /page?url=URL_OF_BROKER&then=PAGE   goes on to PAGE, if one is given, once the site has the lines

const parameters = new URLSearchParams(location.search)
const lines = []

async function finish() {
  await fetch('/result', { method: 'POST', body: lines.join('\n') })
  if (parameters.has('then')) {
    location = parameters.get('then')
  }
}

function connect(version) {
  const options = { protocolVersion: version, reconnectPeriod: 0 }
  return new Promise((resolve, reject) => {
    const client = mqtt.connect(parameters.get('url'), options)
    let reason = 'closed'
    client.on('error', (error) => {
      reason = error.message
    })
    client.on('close', () => reject(new Error(reason)))
    client.on('connect', () => resolve(client))
  })
}

function text(length) {
  return 'dünlin € '.repeat(Math.ceil(length / 9)).slice(0, length)
}

function message(client) {
  return new Promise((resolve) => {
    client.once('message', (name, payload, packet) => resolve([name, payload, packet]))
  })
}

async function exchange(version) {
  const client = await connect(version)
  for (const wanted of [1, 2]) {
    const topic = `browser/${version}/${wanted}`
    const [granted] = await client.subscribeAsync(topic, { qos: wanted })
    for (const qos of [0, 1, 2]) {
      for (const length of [7, 100 * 1024]) {
        const arrival = message(client)
        await client.publishAsync(topic, text(length), { qos })
        const [name, payload, packet] = await arrival
        const same = name === topic && new TextDecoder().decode(payload) === text(length)
        const what = `MQTT ${version}, subscribed ${granted.qos}, published ${qos}, ${length}`
        lines.push(`${what}: came at ${packet.qos} ${same ? 'as it was' : 'altered'}`)
      }
    }
    await client.unsubscribeAsync(topic)
  }
  await client.endAsync()
}

async function run() {
  try {
    for (const version of [4, 5]) {
      await exchange(version)
    }
  } catch (error) {
    lines.push(`failed: ${error.message}`)
  }
  await finish()
}

run()
