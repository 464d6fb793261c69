/* One case, large: its volume to be scrolled in NiiVue, or its overlay picture, and all that is known of it. */
const dialog = at('case');
const viewer = { made: null, niivue: null, shown: null, said: null, values: null, hidden: new Set(), asPicture: false, arrived: new Map(), opacity: 0.5 };
window.medcnnShow = said => viewer.arrived.set(document.currentScript.dataset.id, said);

const safePath = path => !path.startsWith('/') && !path.split('/').some(step => step === '' || step === '.' || step === '..');
function linkTo(path) {
  try {
    return safePath(path) ? `./${path.split('/').map(encodeURIComponent).join('/')}` : '';
  } catch { /* half a character: no file of ours is named so */
    return '';
  }
}
const filesOf = row => row.files || [];
const fileIn = (row, folder) => filesOf(row).find(path => path.startsWith(`${folder}/`));
const hasVolume = row => filesOf(row).includes(`views/${row.id}.js`);

function loadScript(source, id) {
  return new Promise((resolve, reject) => {
    const script = el('script', { src: source, 'data-id': id });
    script.onload = () => { script.remove(); resolve(); };
    script.onerror = () => { script.remove(); reject(new Error(`${decodeURIComponent(source)} is not beside this page`)); };
    document.head.append(script);
  });
}
async function madeViewer() {
  if (!document.createElement('canvas').getContext('webgl2')) throw new Error('this browser has no WebGL2');
  await loadScript('views/niivue.js', '');
  const made = new window.niivue.Niivue({
    backColor: [0, 0, 0, 1], crosshairColor: [1, 0.82, 0.4, 0.7], crosshairWidth: 0.4, crosshairWidthUnit: 'percent', fontColor: [0.85, 0.88, 0.9, 1],
    dragAndDropEnabled: false, loadingText: '', logLevel: 'error', multiplanarShowRender: 0, isRadiologicalConvention: true, sagittalNoseLeft: true,
    isAntiAlias: false, isResizeCanvas: true, multiplanarPadPixels: 6, onLocationChange: where => { at('where').textContent = position(where); },
  });
  await made.attachTo('canvas');
  return made;
}
/* From the scan's centre, as the file of the view has it; the letters say where it lies in the patient. */
function position(where) {
  if (!viewer.said || !viewer.said.oriented || !where.mm) return '';
  const letters = [['R', 'L'], ['A', 'P'], ['S', 'I']];
  return [0, 1, 2].map(axis => `${letters[axis][where.mm[axis] < 0 ? 1 : 0]} ${Math.abs(where.mm[axis]).toFixed(1)}`).join('  ') + ' mm';
}
/* A value stands for one structure or, bit by bit, for several: that of them is seen which is painted last, unless it
   is hidden. What is left are places of structures, counted from 1, which the viewer has colours for. */
function paint(mask, said) {
  const seen = Uint8Array.from({ length: 256 }, (_, value) => {
    const meant = said.overlapping ? said.order.filter(place => value & (1 << place)) : value > 0 ? [value - 1] : [];
    const left = meant.filter(place => !viewer.hidden.has(place));
    return left.length ? left[left.length - 1] + 1 : 0;
  });
  for (let voxel = 0; voxel < mask.img.length; voxel += 1) mask.img[voxel] = seen[viewer.values[voxel]];
}
function labelColours() {
  const colours = ['#000000', ...about.colours], channel = at => colours.map(colour => parseInt(colour.slice(at, at + 2), 16));
  return { R: channel(1), G: channel(3), B: channel(5), A: colours.map((_, value) => (value ? 255 : 0)), I: colours.map((_, value) => value), labels: ['', ...about.names] };
}
async function volumesOf(said) {
  const load = options => window.niivue.NVImage.loadFromBase64(options);
  const made = [await load({ base64: said.grey, name: 'scan.nii.gz', colormap: 'gray', cal_min: 0, cal_max: 255 })];
  if (said.labels) {
    const mask = await load({ base64: said.labels, name: 'mask.nii.gz', opacity: viewer.opacity });
    mask.setColormapLabel(labelColours());
    made.push(mask);
  } else if (said.heat) made.push(await load({ base64: said.heat, name: 'heat.nii.gz', colormap: 'inferno', opacity: viewer.opacity, cal_min: 50, cal_max: 255 }));
  return made;
}
async function showVolume(row) {
  note('Loading the volume …');
  viewer.made ??= madeViewer();
  const niivue = viewer.niivue = await viewer.made;
  await loadScript(`views/${encodeURIComponent(row.id)}.js`, row.id);
  const said = viewer.arrived.get(row.id);
  viewer.arrived.delete(row.id);
  if (!said) throw new Error('the file of the view is damaged');
  const volumes = await volumesOf(said);
  if (viewer.shown !== row.id) return; /* somebody went on meanwhile */
  viewer.said = said;
  if (said.labels) {
    viewer.values = volumes[1].img.slice();
    paint(volumes[1], said);
  }
  for (const old of niivue.volumes.slice()) niivue.removeVolume(old);
  for (const made of volumes) niivue.addVolume(made);
  niivue.setIsOrientationTextVisible(said.oriented);
  niivue.scene.pan2Dxyzmm = [0, 0, 0, 1];
  niivue.scene.crosshairPos = said.centre.slice();
  at('mask-word').textContent = said.labels ? 'mask' : 'heat';
  for (const id of ['mask-on', 'mask-opacity', 'mask-rim']) at(id).closest('label').hidden = !(said.labels || said.heat);
  at('rim-label').hidden = !said.labels;
  setPlanes();
  setMask();
  niivue.createOnLocationChange();
  const shrunk = said.block.some(by => by > 1);
  note(shrunk ? `Shown in blocks of ${said.block.join(' × ')} voxels; the mask in its file has all of them.` : '');
  at('canvas').setAttribute('aria-label', 'The scan in three planes. Arrow up and down move through it.');
}
function setMask() {
  const niivue = viewer.niivue;
  if (!niivue || niivue.volumes.length < 2) return;
  const isOn = at('mask-on').checked;
  niivue.setAtlasOutline(viewer.said.labels && isOn && at('mask-rim').checked ? 1 : 0);
  niivue.setOpacity(1, isOn ? viewer.opacity : 0);
}
function setPlanes() {
  const types = { 3: viewer.niivue.sliceTypeMultiplanar, 0: viewer.niivue.sliceTypeAxial, 1: viewer.niivue.sliceTypeCoronal, 2: viewer.niivue.sliceTypeSagittal };
  viewer.niivue.setSliceType(types[at('planes').value]);
}
/* Through the plane that is shown; of three, through the axial one. */
function scroll(by) {
  if (!viewer.niivue || !at('picture').hidden) return;
  const through = { 3: 2, 0: 2, 1: 1, 2: 0 }[at('planes').value];
  viewer.niivue.moveCrosshairInVox(...[0, 1, 2].map(axis => (axis === through ? by : 0)));
}
function setHidden(place, isHidden) {
  if (isHidden) viewer.hidden.add(place); else viewer.hidden.delete(place);
  const mask = viewer.said && viewer.said.labels && viewer.niivue.volumes[1];
  if (!mask) return;
  paint(mask, viewer.said);
  viewer.niivue.updateGLVolume();
}
const note = text => { at('stage-note').textContent = text; };

/* The picture that was drawn for the case; alone, where this page lies alone, its thumbnail. */
function showPicture(row, why) {
  const image = at('picture-image'), large = fileIn(row, 'overlays'), small = thumbnailOf(row);
  at('picture').hidden = false; /* over the volume, which keeps its size */
  image.hidden = !(large || small);
  at('picture-none').hidden = Boolean(large || small);
  image.alt = large || small ? `Scan of ${row.id}, ${answerWords(row)}` : '';
  const fall = () => { image.onerror = null; image.className = 'small'; image.hidden = !small; at('picture-none').hidden = Boolean(small); image.src = small; note([why, large ? 'The large picture is not beside this page.' : ''].filter(Boolean).join(' ')); };
  image.className = '';
  image.onerror = fall;
  note(why);
  if (large) image.src = linkTo(large); else if (small) fall(); else image.removeAttribute('src');
}
async function stage(row) {
  const volume = hasVolume(row);
  at('stage-tools').hidden = !volume;
  at('where').textContent = '';
  at('picture').hidden = true;
  at('picture-image').removeAttribute('src');
  if (!volume || viewer.asPicture) return showPicture(row, '');
  try {
    await showVolume(row);
  } catch (error) {
    if (viewer.shown !== row.id) return undefined;
    if (!viewer.niivue) viewer.made = null; /* the next case tries again */
    at('stage-tools').hidden = true;
    showPicture(row, `The volume cannot be scrolled here: ${error.message}.`);
  }
  return undefined;
}

function probabilities(row) {
  if (!row.probability) return [];
  const ranked = row.probability.map((value, place) => [value, about.names[place]]).filter(pair => pair[0] != null).sort((a, b) => b[0] - a[0]);
  return [el('h3', null, 'Probabilities'), el('table', null, el('tbody', null, ...ranked.map(([value, name]) =>
    el('tr', null, el('td', { class: 'name' }, own(name)), el('td', { style: 'width:40%' }, bar(value)), el('td', { class: 'n' }, number(value, 3))))))];
}
function structures(row) {
  if (!segments || row.state !== 'answered') return [];
  const lines = about.names.map((name, place) => {
    const found = foundIn(row).includes(place);
    const box = el('input', { type: 'checkbox', checked: !viewer.hidden.has(place), onchange: event => setHidden(place, !event.target.checked), 'aria-label': `show ${name}` });
    const shown = found && hasVolume(row) ? el('label', null, box, dot(place), own(name)) : el('label', null, dot(place), own(name));
    return el('tr', null, el('td', { class: 'name' }, shown), el('td', { class: 'n' }, found ? volume(part(row.volume, place)) : 'not found'), el('td', { class: 'n' }, number(part(row.dice, place), 2)));
  });
  const heads = el('thead', null, el('tr', null, el('th', { scope: 'col' }, 'Structure'), el('th', { scope: 'col', class: 'n' }, 'ml'), el('th', { scope: 'col', class: 'n' }, 'Expected Dice')));
  const apart = row.disagreement === undefined ? '' : el('p', { class: 'q' }, `Disagreement of the members: ${number(row.disagreement, 2)}`);
  return [el('table', null, heads, el('tbody', null, ...lines)), apart];
}
function headline(row) {
  if (row.state === 'rejected' || row.state === 'failed') return [el('p', { class: 'headline' }, row.code || row.state), notes(row.found, row.remedy)];
  if (row.state === 'withheld') return [el('p', { class: 'headline' }, segments ? 'no mask' : values ? 'no number' : 'no decision'), notes(row.reason)];
  const sure = !segments && row.confidence !== undefined ? ` ${number(row.confidence, 2)}` : '';
  return [el('p', { class: 'headline' }, own(answerWords(row)), el('span', { class: 'q' }, sure)), row.reason ? notes(row.reason) : ''];
}
const notes = (...lines) => el('div', { class: 'notes' }, ...lines.filter(Boolean).map(line => el('p', null, own(line))));
function facts(row) {
  const links = filesOf(row).filter(path => !/^(views|thumbnails)\//.test(path) && linkTo(path));
  const parts = Object.entries(row.parts || {}).map(([name, took]) => `${name} ${number(took, 2)}`).join(', ');
  return [pill(row), ...headline(row), ...structures(row), ...probabilities(row),
    ...(flagsOf(row).length ? [el('h3', null, 'Flags'), el('ul', null, ...flagsOf(row).map(flag => el('li', null, own(flag))))] : []),
    ...(links.length ? [el('h3', null, 'Files'), el('ul', null, ...links.map(path => el('li', null, el('a', { href: linkTo(path), target: '_blank', rel: 'noopener' }, own(path)))))] : []),
    el('h3', null, 'Case'), el('dl', null, el('dt', null, 'scan'), el('dd', null, own(row.ref)), el('dt', null, 'case id'), el('dd', { class: 'id' }, row.id),
      el('dt', null, 'seconds'), el('dd', null, number(row.seconds, 2), parts ? ` (${parts})` : '')),
    el('p', { class: 'q' }, el('kbd', null, 'j'), ' ', el('kbd', null, 'k'), ' or arrows: next, previous. ', el('kbd', null, 'm'), ' mask on and off, ', el('kbd', null, '↑'), ' ', el('kbd', null, '↓'), ' or the wheel through the volume, ', el('kbd', null, 'Esc'), ' back.')];
}
function showCase(row) {
  if (viewer.shown === row.id) return;
  viewer.shown = row.id;
  const place = current.indexOf(row);
  at('case-title').replaceChildren(own(row.ref));
  at('case-title').title = plain(row.ref);
  at('case-place').textContent = place < 0 ? '' : `${(place + 1).toLocaleString('en')} of ${current.length.toLocaleString('en')}`;
  at('case-back').disabled = place <= 0;
  at('case-next').disabled = place < 0 || place === current.length - 1;
  at('case-facts').replaceChildren(...facts(row).filter(Boolean));
  at('case-facts').scrollTop = 0;
  if (!dialog.open) dialog.showModal();
  if (!dialog.contains(document.activeElement) || document.activeElement.disabled) at('case-title').focus();
  stage(row);
}
function neighbour(by) {
  const next = current[current.indexOf(byId.get(viewer.shown)) + by];
  if (next && current.includes(byId.get(viewer.shown))) location.replace(caseLink(next));
}
function idInHash() {
  try {
    return decodeURIComponent(location.hash.slice(1)).replace(/^case=/, '');
  } catch {
    return '';
  }
}
function follow() {
  const row = byId.get(idInHash());
  if (!row) { if (dialog.open) dialog.close(); return; }
  if (!current.includes(row)) { at('reset').click(); }
  showCase(row);
}
dialog.addEventListener('close', () => {
  const row = byId.get(viewer.shown), place = current.indexOf(row);
  viewer.shown = null;
  at('picture-image').removeAttribute('src');
  if (byId.has(idInHash())) history.replaceState(null, '', location.pathname + location.search);
  if (place < 0) return;
  const page = Math.floor(place / PER_PAGE[view.look]);
  if (page !== view.page) { view.page = page; draw(); }
  const box = view.look === 'table' ? at('table') : at('gallery');
  const link = [...box.querySelectorAll('a[data-id]')].find(one => one.dataset.id === row.id);
  if (link) { link.focus({ preventScroll: true }); link.scrollIntoView({ block: 'nearest' }); }
});
/* Before the viewer hears them: it has keys of its own for the same letters. */
document.addEventListener('keydown', event => {
  if (!dialog.open || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === 'Escape' || event.key === 'Tab' || typing(event.target)) return;
  const deeds = {
    j: () => neighbour(1), ArrowRight: () => neighbour(1), k: () => neighbour(-1), ArrowLeft: () => neighbour(-1),
    ArrowUp: () => scroll(1), ArrowDown: () => scroll(-1), m: () => at('mask-on').click(),
  };
  const isOurs = Object.hasOwn(deeds, event.key);
  if (isOurs) { event.preventDefault(); deeds[event.key](); }
  if (isOurs || event.target.id === 'canvas') event.stopPropagation();
}, true);
at('case-back').addEventListener('click', () => neighbour(-1));
at('case-next').addEventListener('click', () => neighbour(1));
at('case-close').addEventListener('click', () => dialog.close());
at('mask-opacity').value = viewer.opacity;
at('mask-opacity').addEventListener('input', () => { viewer.opacity = at('mask-opacity').valueAsNumber; at('mask-on').checked = true; setMask(); });
for (const id of ['mask-on', 'mask-rim']) at(id).addEventListener('change', setMask);
at('planes').addEventListener('change', () => viewer.niivue && setPlanes());
at('as-picture').addEventListener('click', () => {
  viewer.asPicture = !viewer.asPicture;
  at('as-picture').setAttribute('aria-pressed', String(viewer.asPicture));
  stage(byId.get(viewer.shown));
});
window.addEventListener('hashchange', follow);
follow();
