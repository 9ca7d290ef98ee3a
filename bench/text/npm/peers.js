// Peers that are npm packages, on the items that `evaluate --write-items` wrote.
//
//   node peers.js tag wink|compromise ITEMS.conllu ANSWERS
//   node peers.js raw wink ITEMS.txt ANSWERS
//
// Neither takes words that are given: they read these joined by spaces, and a word has their tag where they cut the
// same word, `_` elsewhere. What is printed is seconds of a core for one pass, after one to warm up; passes are repeated
// until a second has passed.

import { readFileSync, writeFileSync } from 'node:fs'
import process from 'node:process'

const secondsEach = (work) => {
  const begun = performance.now()
  const before = process.cpuUsage()
  let passes = 0
  while (performance.now() - begun < 1000) {
    work()
    passes += 1
  }
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1e6 / passes
}

const sentences = (path) =>
  readFileSync(path, 'utf8')
    .split('\n\n')
    .map((block) => block.split('\n').map((line) => line.split('\t')).filter(([id]) => /^\d+$/.test(id)))
    .map((rows) => rows.map((row) => row[1]))
    .filter((words) => words.length > 0)

// The tags of words, from pieces [start, end, tag] of these joined by spaces.
const aligned = (words, pieces) => {
  const tags = new Map(pieces.map(([start, end, tag]) => [`${start} ${end}`, tag]))
  let at = 0
  return words.map((word) => {
    const [start, end] = [at, at + word.length]
    at = end + 1
    return tags.get(`${start} ${end}`) ?? '_'
  })
}

const wink = async () => {
  const { default: winkNLP } = await import('wink-nlp')
  const { default: model } = await import('wink-eng-lite-web-model')
  const nlp = winkNLP(model, ['sbd', 'pos'])
  const { its, as } = nlp
  const read = (text) => {
    const tokens = nlp.readDoc(text).tokens()
    return [tokens.out(its.value), tokens.out(its.precedingSpaces), tokens.out(its.pos)]
  }
  const pieces = (text) => {
    const [values, spaces, tags] = read(text)
    let at = 0
    return values.map((value, i) => {
      const start = at + spaces[i].length
      at = start + value.length
      return [start, at, tags[i]]
    })
  }
  const conllu = (text) => {
    let out = ''
    nlp.readDoc(text).sentences().each((sentence) => {
      const tokens = sentence.tokens()
      const [values, tags] = [tokens.out(its.value), tokens.out(its.pos)]
      // Its tag for line ends is none of UPOS.
      const rows = values.map((value, i) => [value.trim(), tags[i]]).filter(([value]) => value !== '')
      rows.forEach(([value, tag], i) => { out += `${i + 1}\t${value}\t_\t${tag === 'SPACE' ? 'X' : tag}\t_\t_\t_\t_\t_\t_\n` })
      out += '\n'
    })
    return out
  }
  return { read, pieces, conllu }
}

// Its tags, the first that a term has, in UPOS. It names no signs: what it has no term for, and has no letter or digit, counts as PUNCT.
const COMPROMISE = [
  ['ProperNoun', 'PROPN'], ['Pronoun', 'PRON'], ['Possessive', 'PRON'], ['Auxiliary', 'AUX'], ['Copula', 'AUX'], ['Modal', 'AUX'],
  ['Negative', 'PART'], ['Particle', 'ADP'], ['Verb', 'VERB'], ['Adjective', 'ADJ'], ['Adverb', 'ADV'], ['Determiner', 'DET'],
  ['Preposition', 'ADP'], ['Conjunction', 'CCONJ'], ['Value', 'NUM'], ['Noun', 'NOUN'], ['Expression', 'INTJ'], ['QuestionWord', 'PRON'],
  ['Emoji', 'SYM'], ['Emoticon', 'SYM'], ['Url', 'X'], ['Email', 'X'], ['There', 'PRON'],
]

const compromise = async () => {
  const { default: nlp } = await import('compromise')
  const upos = (tags) => COMPROMISE.find(([name]) => tags.has(name))?.[1] ?? 'X'
  const read = (text) => nlp(text)
  const pieces = (text) => {
    let at = 0
    const found = []
    for (const sentence of read(text).docs) {
      for (const { pre, text: form, post, tags } of sentence) {
        const start = at + pre.length
        at = start + form.length
        found.push([start, at, upos(tags)])
        at += post.length
      }
    }
    return found
  }
  return { read, pieces }
}

const [kind, name, items, answers] = process.argv.slice(2)
const peer = await { wink, compromise }[name]()
if (kind === 'tag') {
  const given = sentences(items)
  const sign = (word) => !/[\p{L}\p{N}]/u.test(word)
  const told = given.map((words) => {
    const tags = aligned(words, peer.pieces(words.join(' ')))
    return tags.map((tag, i) => (name === 'compromise' && tag === '_' && sign(words[i]) ? 'PUNCT' : tag)).join(' ')
  })
  writeFileSync(answers, told.join('\n') + '\n')
  const texts = given.map((words) => words.join(' '))
  console.log(secondsEach(() => texts.forEach((text) => peer.read(text))))
} else {
  const text = readFileSync(items, 'utf8')
  writeFileSync(answers, peer.conllu(text))
  // By lines, as one whole text is slower.
  console.log(secondsEach(() => text.split('\n').forEach((line) => peer.read(line))))
}
