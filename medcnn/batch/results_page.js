'use strict';
/* The table, its filters, the gallery and the reasons. Text from data goes through textContent only. */
const read = id => JSON.parse(document.getElementById(id).textContent);
const at = id => document.getElementById(id);
const about = read('about'), rows = read('rows');
const segments = about.kind === 'segmentation', values = about.kind === 'regression';
const STATES = [['answered', 'answered'], ['withheld', 'withheld'], ['rejected', 'rejected'], ['failed', 'failed']];
const PER_PAGE = { table: 50, gallery: 120 }, MOST_PRINTED = 2000, FEW_NAMES = 4;
const collator = new Intl.Collator('en', { numeric: true });
const byId = new Map(rows.map(row => [row.id, row]));
let thumbnails = null;

function el(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) node.addEventListener(key.slice(2), value);
    else if (key === 'colour') node.style.background = value;
    else if (key === 'share') node.style.width = `${(100 * Math.min(1, Math.max(0, value))).toFixed(1)}%`;
    else node.setAttribute(key, value === true ? '' : key === 'title' ? plain(value) : value);
  }
  node.append(...children.filter(child => child !== null && child !== undefined && child !== ''));
  return node;
}
/* Names of files may run from right to left: isolated, they leave the text around them alone. Marks that would turn
   the letters of a name around, so that it reads as another, are shown as what they are: not printable. */
const plain = text => String(text).replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]|\p{Surrogate}/gu, '\ufffd');
const own = text => el('bdi', null, plain(text));
const many = (count, noun) => `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;
const number = (value, decimals) => value === undefined || value === null ? '' : value.toFixed(decimals);
function volume(value) {
  if (value === undefined || value === null) return '';
  return value !== 0 && value < 0.001 ? '<0.001' : value >= 100 ? value.toFixed(0) : value === 0 ? '0' : value.toPrecision(3);
}
const part = (list, place) => list ? list[place] : undefined;
const flagCode = flag => flag.split(':')[0];
const flagsOf = row => row.flags || [];
const median = values => {
  const sorted = values.slice().sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const isFound = (row, place) => part(row.dice, place) != null || part(row.volume, place) > 0;
function foundIn(row) {
  if (row.state !== 'answered') return [];
  row.structures ??= about.names.map((_, place) => place).filter(place => isFound(row, place));
  return row.structures;
}
function thumbnailOf(row) {
  thumbnails ??= read('thumbnails');
  return Object.hasOwn(thumbnails, row.id) ? `data:image/webp;base64,${thumbnails[row.id]}` : '';
}
function tally(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) || 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1] || collator.compare(a[0], b[0]));
}
const pill = row => el('span', { class: `pill ${row.state}` }, row.state);
const dot = place => el('span', { class: 'dot', colour: about.colours[place] });
const bar = share => el('span', { class: 'bar', 'aria-hidden': 'true' }, el('i', { share }));

const inUnit = text => about.unit ? `${text} ${about.unit}` : text;
function valueWords(row) {
  const said = inUnit(number(row.value, about.digits));
  return row.low === undefined ? said : `${said} (${number(row.low, about.digits)} to ${number(row.high, about.digits)})`;
}
function answerWords(row) {
  if (row.state === 'rejected' || row.state === 'failed') return row.code;
  if (row.state === 'withheld') return 'withheld';
  if (values) return valueWords(row);
  if (!segments) return row.decision;
  const found = foundIn(row);
  return found.length ? found.map(place => about.names[place]).join(', ') : 'nothing found';
}
function answerCell(row) {
  if (row.state === 'rejected' || row.state === 'failed') {
    return [pill(row), ' ', el('code', null, row.code || ''), el('span', { class: 'why clip', title: row.found }, own(row.found || ''))];
  }
  if (row.state === 'withheld') return [pill(row), el('span', { class: 'why clip', title: row.reason }, own(row.reason || 'withheld'))];
  if (values) return [el('b', null, own(inUnit(number(row.value, about.digits))))];
  if (!segments) return [el('b', null, own(row.decision))];
  const found = foundIn(row);
  if (!found.length) return [el('span', { class: 'q' }, 'nothing found')];
  const chips = found.slice(0, 6).map(place => el('span', { class: 'chip' }, dot(place), own(about.names[place])));
  return found.length > 6 ? [...chips, el('span', { class: 'q' }, `and ${found.length - 6} more`)] : chips;
}
const numeric = (key, name, value, show, shown, says) => ({ key, name, says: says || name, number: true, value, show: row => [show(value(row))], shown });

function madeColumns() {
  const few = about.names.length <= FEW_NAMES;
  const each = (key, says, show, shown) => about.names.map((name, place) =>
    numeric(`${key}.${place}`, says(name), row => part(row[key], place), show, shown));
  const sized = value => number(value, about.digits), two = value => number(value, 2), three = value => number(value, 3);
  const numbers = segments
    ? [...each('volume', name => `${name} ml`, volume, few), ...each('dice', name => `${name} Dice`, two, few),
      numeric('disagreement', 'Disagreement', row => row.disagreement, two, rows.some(row => row.disagreement !== undefined), 'Disagreement of the members, 0 to 1')]
    : values
    ? [numeric('value', inUnit(about.names[0]), row => row.value, sized, false), numeric('low', 'From', row => row.low, sized, true, `Lower end of the ${about.range}`),
      numeric('high', 'To', row => row.high, sized, true, `Upper end of the ${about.range}`)]
    : [numeric('confidence', 'Confidence', row => row.confidence, two, true), ...each('probability', name => `p ${name}`, three, few)];
  return [
    { key: 'case', name: 'Case', value: row => row.ref, show: caseCell, shown: true, fixed: true },
    { key: 'state', name: 'State', value: row => row.state, show: row => [pill(row)], shown: false },
    { key: 'answer', name: segments ? 'Found' : values ? about.names[0] : 'Decision', number: values, value: values ? row => row.value : answerWords, show: answerCell, shown: true },
    ...numbers,
    { key: 'flags', name: 'Flags', value: row => flagsOf(row).length ? flagsOf(row).join(' ') : undefined, show: flagCell, shown: rows.some(row => flagsOf(row).length) },
    numeric('seconds', 'Seconds', row => row.seconds, value => number(value, 2), false),
  ];
}
const caseLink = row => `#case=${encodeURIComponent(row.id)}`;
function caseCell(row) {
  return [el('a', { href: caseLink(row), 'data-id': row.id, title: row.ref }, el('span', { class: 'clip' }, own(row.ref))), el('span', { class: 'id' }, row.id)];
}
function flagCell(row) {
  return flagsOf(row).map(flag => el('span', { class: 'flag', title: flag }, flagCode(flag)));
}
const columns = madeColumns();
const view = { state: '', answer: '', flag: '', code: '', search: '', column: '', low: NaN, high: NaN, sort: '', down: false, page: 0, look: 'table', flagged: false };
let current = rows;

function wordsOf(row) {
  row.words ??= [row.ref, row.id, row.decision, row.code, row.found, row.remedy, row.reason, ...flagsOf(row), row.state]
    .filter(Boolean).join('\n').toLowerCase();
  return row.words;
}
function answers(row, wanted) {
  const [kind, name] = [wanted.slice(0, 1), wanted.slice(1)];
  if (kind === '=') return row.state === 'answered' && row.decision === name;
  if (kind === '+') return foundIn(row).includes(Number(name));
  return row.state === 'answered' && !foundIn(row).length;
}
function fits(row, wanted, column) {
  if (view.state && row.state !== view.state) return false;
  if (view.flagged && !flagsOf(row).length) return false;
  if (view.code && row.code !== view.code) return false;
  if (view.flag && !flagsOf(row).some(flag => flagCode(flag) === view.flag)) return false;
  if (view.answer && !answers(row, view.answer)) return false;
  if (column && !(Number.isNaN(view.low) && Number.isNaN(view.high))) {
    const value = column.value(row);
    if (value === undefined || value === null || value < view.low || value > view.high) return false;
  }
  return wanted.every(word => wordsOf(row).includes(word));
}
function compared(column, down) {
  const sign = down ? -1 : 1;
  return (a, b) => {
    const one = column.value(a), other = column.value(b);
    const none = value => value === undefined || value === null || value === '';
    if (none(one) || none(other)) return none(one) - none(other); /* what has none comes last, either way */
    return sign * (column.number ? one - other : collator.compare(one, other));
  };
}
function pick() {
  const wanted = view.search.toLowerCase().split(/\s+/).filter(Boolean);
  const column = columns.find(one => one.key === view.column);
  current = rows.filter(row => fits(row, wanted, column));
  const sorted = columns.find(one => one.key === view.sort);
  if (sorted) current.sort(compared(sorted, view.down));
}
function refresh(keepsPage) {
  if (!keepsPage) view.page = 0;
  pick();
  draw();
}
function draw(everything) {
  const size = everything ? MOST_PRINTED : PER_PAGE[view.look], pages = Math.max(1, Math.ceil(current.length / size));
  view.page = Math.min(view.page, pages - 1);
  const first = view.page * size, shown = current.slice(first, first + size);
  at('count').textContent = rows.length === 0 ? '' : current.length === rows.length ? many(rows.length, 'case') : `${current.length.toLocaleString('en')} of ${many(rows.length, 'case')}`;
  at('empty').hidden = current.length > 0;
  at('empty').textContent = rows.length ? 'No case fits these filters.' : 'There is no case yet.';
  at('table-box').hidden = view.look !== 'table' || !current.length;
  at('gallery').hidden = view.look !== 'gallery' || !current.length;
  if (view.look === 'table') drawTable(shown, everything); else at('gallery').replaceChildren(...shown.map(card));
  drawPager(pages, first, shown.length);
  for (const tile of at('tiles').children) tile.setAttribute('aria-pressed', String(tile.isPicked()));
}
function drawTable(shown, isPrinted) {
  const wanted = columns.filter(column => column.shown);
  at('table').tHead.replaceChildren(el('tr', null, el('th', { scope: 'col' }, el('span', { class: 'q' }, 'Picture')), ...wanted.map(column => (isPrinted ? printedHead(column) : head(column)))));
  at('table').tBodies[0].replaceChildren(...shown.map(row => el('tr', { 'data-id': row.id },
    el('td', { class: 'thumb' }, pictureOf(row)),
    ...wanted.map(column => el('td', { class: column.number ? 'n' : column.key }, ...column.show(row))))));
}
function head(column) {
  const sorted = view.sort === column.key ? (view.down ? 'descending' : 'ascending') : 'none';
  const sort = () => {
    if (view.sort !== column.key) [view.sort, view.down] = [column.key, Boolean(column.number)];
    else if (view.down === Boolean(column.number)) view.down = !view.down;
    else view.sort = '';
    refresh();
    at('table').querySelector(`th[data-key="${column.key}"] button`).focus();
  };
  return el('th', { scope: 'col', class: column.number ? 'n' : '', 'aria-sort': sorted, 'data-key': column.key },
    el('button', { type: 'button', title: `Sort by ${column.says || column.name}`, onclick: sort }, el('span', null, own(column.name))));
}
/* Browsers leave buttons out where they repeat a table's head on the next sheet. */
const printedHead = column => el('th', { scope: 'col', class: column.number ? 'n' : '' }, own(column.name));
function pictureOf(row) {
  const source = thumbnailOf(row);
  if (source) return el('img', { src: source, alt: '', decoding: 'async', loading: 'lazy' });
  return el('span', { class: 'blank' }, 'no picture');
}
function card(row) {
  const picture = pictureOf(row);
  if (picture.className === 'blank') picture.textContent = row.code || 'no picture';
  const sure = !segments && row.confidence !== undefined ? ` ${number(row.confidence, 2)}` : '';
  return el('a', { class: 'card', href: caseLink(row), 'data-id': row.id, title: row.ref }, picture,
    el('span', { class: 'text' }, row.state === 'answered' ? el('b', null, own(answerWords(row)), sure) : pill(row), ' ', ...flagCell(row),
      el('span', { class: 'id clip' }, own(row.ref.split('/').pop() || row.ref))));
}
function drawPager(pages, first, shown) {
  if (pages < 2) return at('pager').replaceChildren();
  const go = page => () => { view.page = page; draw(); at('cases').scrollIntoView(); };
  const last = pages - 1, near = [...new Set([0, view.page - 1, view.page, view.page + 1, last])].filter(page => page >= 0 && page <= last);
  const buttons = near.flatMap((page, place) => [
    place && near[place - 1] < page - 1 ? el('span', { class: 'q' }, '…') : '',
    el('button', { type: 'button', 'aria-pressed': String(page === view.page), 'aria-label': `Page ${page + 1}`, onclick: go(page) }, String(page + 1))]);
  at('pager').replaceChildren(
    el('button', { type: 'button', disabled: view.page === 0, onclick: go(view.page - 1) }, 'Previous'), ...buttons.filter(Boolean),
    el('button', { type: 'button', disabled: view.page === last, onclick: go(view.page + 1) }, 'Next'),
    el('span', { class: 'q' }, `${first + 1} to ${first + shown} of ${current.length.toLocaleString('en')}`));
  return undefined;
}

function drawTiles() {
  const counts = new Map(tally(rows.map(row => row.state)));
  const tile = (key, label, count, isPicked, choose) => {
    const button = el('button', { type: 'button', class: `tile ${key} ${count ? '' : 'none'}`, onclick: () => { choose(); setForm(); refresh(); } },
      el('b', null, count.toLocaleString('en')), el('span', { class: 'of' }, label));
    button.isPicked = isPicked;
    return button;
  };
  at('tiles').append(
    tile('all', rows.length === 1 ? 'case' : 'cases', rows.length, () => !view.state && !view.flagged, () => { view.state = ''; view.flagged = false; }),
    ...STATES.filter(([key]) => key !== 'withheld' || counts.get(key)).map(([key, label]) =>
      tile(key, label, counts.get(key) || 0, () => view.state === key, () => { view.state = view.state === key ? '' : key; })),
    tile('flagged', 'flagged', rows.filter(row => flagsOf(row).length).length, () => view.flagged, () => { view.flagged = !view.flagged; }));
}
/* How the numbers lie: a bar for each of eight equal parts of their range. */
function drawValues(answered) {
  const all = answered.map(row => row.value), low = Math.min(...all), high = Math.max(...all), sized = value => number(value, about.digits);
  const parts = high > low ? 8 : 1, counts = new Array(parts).fill(0), edge = place => low + place * (high - low) / parts;
  for (const value of all) counts[Math.min(parts - 1, Math.floor(parts * (value - low) / ((high - low) || 1)))] += 1;
  const lines = counts.map((count, place) => el('tr', null, el('td', null, parts > 1 ? `${sized(edge(place))} to ${sized(edge(place + 1))}` : sized(low)),
    el('td', { class: 'n' }, count.toLocaleString('en')), el('td', { style: 'width:40%' }, bar(count / Math.max(...counts)))));
  at('answers').querySelector('div').append(el('p', { class: 'say' }, own(`${about.names[0]}: median ${inUnit(sized(median(all)))}, ${sized(low)} to ${sized(high)}.`), about.range ? ` From and to: the ${about.range}.` : ''),
    el('table', null, el('thead', null, el('tr', null, el('th', { scope: 'col' }, own(inUnit(about.names[0]))), el('th', { scope: 'col', class: 'n' }, 'Cases'), el('th', { scope: 'col' }, ''))), el('tbody', null, ...lines)));
  at('answers').hidden = false;
  return undefined;
}
function drawAnswers() {
  const answered = rows.filter(row => row.state === 'answered');
  if (!answered.length) return;
  if (values) return drawValues(answered);
  const filter = (wanted, name) => el('button', { type: 'button', class: 'link', onclick: () => { view.answer = wanted; setForm(); refresh(); at('cases').scrollIntoView(); } }, own(name));
  const headed = (...names) => el('thead', null, el('tr', null, ...names.map((name, place) => el('th', { scope: 'col', class: place && name ? 'n' : '' }, name))));
  const cell = text => el('td', { class: 'n' }, text);
  const lines = about.names.map((name, place) => {
    const those = answered.filter(row => segments ? foundIn(row).includes(place) : row.decision === name);
    const share = el('td', { style: 'width:28%' }, bar(those.length / answered.length));
    if (!segments) {
      return el('tr', null, el('td', null, filter(`=${name}`, name)), cell(those.length.toLocaleString('en')), share,
        cell(those.length ? number(median(those.map(row => row.confidence ?? 0)), 2) : ''));
    }
    const volumes = those.map(row => part(row.volume, place)).filter(value => value != null), dices = those.map(row => part(row.dice, place)).filter(value => value != null);
    return el('tr', null, el('td', null, el('span', { class: 'chip' }, dot(place), filter(`+${place}`, name))), cell(those.length.toLocaleString('en')), share,
      cell(volumes.length ? volume(median(volumes)) : ''), cell(volumes.length ? `${volume(Math.min(...volumes))} to ${volume(Math.max(...volumes))}` : ''),
      cell(dices.length ? number(median(dices), 2) : ''));
  });
  const heads = segments ? headed('Structure', 'Found in', '', 'Median ml', 'Range ml', 'Median expected Dice') : headed('Decision', 'Cases', '', 'Median confidence');
  at('answers').querySelector('div').append(el('table', null, heads, el('tbody', null, ...lines)));
  at('answers').hidden = false;
}
function drawProblems() {
  const groups = tally(rows.filter(row => row.state === 'rejected' || row.state === 'failed').map(row => `${row.state} ${row.code || ''}`));
  at('problems').hidden = !groups.length;
  at('problems').querySelector('div').append(...groups.map(([key, count]) => {
    const [state, code] = [key.slice(0, key.indexOf(' ')), key.slice(key.indexOf(' ') + 1)];
    const those = rows.filter(row => row.state === state && (row.code || '') === code);
    const show = el('button', { type: 'button', class: 'link', onclick: () => { Object.assign(view, { state, code, flagged: false }); setForm(); refresh(); at('cases').scrollIntoView(); } }, 'Show them in the table');
    const details = el('details', { class: 'group' }, el('summary', null, el('span', { class: 'many' }, count.toLocaleString('en')), el('span', { class: `pill ${state}` }, state), el('code', null, code),
      el('span', { class: 'say' }, own(those[0].remedy || those[0].found || ''))));
    const fill = () => details.childElementCount < 2 && details.append(el('div', { class: 'inner' }, show,
      el('ul', null, ...those.slice(0, 200).map(row => el('li', null, el('a', { href: caseLink(row) }, own(row.ref)), ' ', el('span', { class: 'why' }, own(row.found || ''))))),
      count > 200 ? el('p', { class: 'q' }, `and ${count - 200} more, in the table`) : ''));
    details.addEventListener('toggle', fill);
    return details;
  }));
}
function drawSkipped() {
  const skipped = read('passed-over'), groups = Object.entries(skipped.counts);
  at('skipped').hidden = !groups.length;
  at('skipped').querySelector('div').append(...groups.sort((a, b) => b[1] - a[1]).map(([code, count]) => {
    const those = skipped.files.filter(file => file[1] === code);
    return el('details', { class: 'group' }, el('summary', null, el('span', { class: 'many' }, count.toLocaleString('en')), el('code', null, code)),
      el('div', { class: 'inner' }, el('ul', null, ...those.map(file => el('li', null, own(file[0]), ' ', el('span', { class: 'why' }, own(file[2]))))),
        count > those.length ? el('p', { class: 'q' }, `and ${count - those.length} more, in skipped.csv`) : ''));
  }));
}

function setOptions(id, any, options) {
  at(id).replaceChildren(el('option', { value: '' }, any), ...options.map(([value, label]) => el('option', { value }, label)));
  at(id).closest('label, fieldset').hidden = !options.length;
}
function setForm() {
  for (const key of ['state', 'answer', 'flag', 'code', 'search', 'column']) at(key).value = view[key];
  for (const key of ['low', 'high']) at(key).value = Number.isNaN(view[key]) ? '' : view[key];
}
function prepareForm() {
  const counted = pairs => pairs.map(([value, count]) => [value, `${value} (${count.toLocaleString('en')})`]);
  const states = new Map(tally(rows.map(row => row.state)));
  setOptions('state', 'all', counted(STATES.map(([key]) => [key, states.get(key) || 0]).filter(pair => pair[1])));
  const answered = rows.filter(row => row.state === 'answered');
  const found = segments
    ? [...about.names.map((name, place) => [`+${place}`, name, answered.filter(row => foundIn(row).includes(place)).length]), ['-', 'nothing found', answered.filter(row => !foundIn(row).length).length]]
    : values ? [] : tally(answered.map(row => row.decision)).map(([name, count]) => [`=${name}`, name, count]);
  setOptions('answer', 'all', found.filter(one => one[2]).map(([value, name, count]) => [value, `${name} (${count.toLocaleString('en')})`]));
  at('answer-label').firstChild.textContent = segments ? 'Found ' : 'Decision ';
  setOptions('flag', 'all', counted(tally(rows.flatMap(row => [...new Set(flagsOf(row).map(flagCode))]))));
  setOptions('code', 'all', counted(tally(rows.map(row => row.code).filter(Boolean))));
  setOptions('column', 'none', columns.filter(column => column.number && rows.some(row => column.value(row) != null)).map(column => [column.key, column.name]));
  for (const key of ['state', 'answer', 'flag', 'code', 'column']) at(key).addEventListener('change', () => { view[key] = at(key).value; refresh(); });
  let waits = 0;
  at('search').addEventListener('input', () => { clearTimeout(waits); waits = setTimeout(() => { view.search = at('search').value; refresh(); }, 80); });
  for (const key of ['low', 'high']) at(key).addEventListener('input', () => { view[key] = at(key).valueAsNumber; refresh(); });
  at('tools').addEventListener('submit', event => event.preventDefault());
  at('reset').addEventListener('click', () => { Object.assign(view, { state: '', answer: '', flag: '', code: '', search: '', column: '', low: NaN, high: NaN, flagged: false }); setForm(); refresh(); });
  for (const look of ['table', 'gallery']) {
    at(`as-${look}`).addEventListener('click', () => {
      view.look = look;
      for (const other of ['table', 'gallery']) at(`as-${other}`).setAttribute('aria-pressed', String(other === look));
      refresh();
    });
  }
  at('columns').querySelector('div').append(...columns.filter(column => !column.fixed).map(column => el('label', null,
    el('input', { type: 'checkbox', checked: column.shown, onchange: event => { column.shown = event.target.checked; draw(); } }), own(column.name))));
}
document.addEventListener('click', event => { if (!at('columns').contains(event.target)) at('columns').open = false; });
function step(by) {
  const links = [...document.querySelectorAll(view.look === 'table' ? '#table tbody a' : '#gallery a')];
  const place = links.indexOf(document.activeElement);
  const next = links[place < 0 ? 0 : Math.min(links.length - 1, Math.max(0, place + by))];
  if (next) { next.focus({ preventScroll: true }); next.scrollIntoView({ block: 'nearest' }); }
}
const typing = target => target.closest('input:not([type=checkbox]), select, textarea') !== null;
document.addEventListener('keydown', event => {
  if (at('case').open || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
  const deeds = { '/': () => at('search').focus(), j: () => step(1), k: () => step(-1) };
  if (Object.hasOwn(deeds, event.key)) { event.preventDefault(); deeds[event.key](); }
});
at('table').tBodies[0].addEventListener('click', event => {
  const line = event.target.closest('tr');
  if (line && !event.target.closest('a') && !String(window.getSelection())) location.hash = caseLink(byId.get(line.dataset.id)).slice(1);
});
window.addEventListener('beforeprint', () => draw(true));
window.addEventListener('afterprint', () => draw());
drawTiles();
drawAnswers();
drawProblems();
drawSkipped();
prepareForm();
refresh();
