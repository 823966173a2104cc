// Makes the tables of the page sortable, draws its plots when they come into view, and saves both.
const themes = JSON.parse(document.getElementById('themes').textContent);
const dark = matchMedia('(prefers-color-scheme: dark)');
const printing = matchMedia('print');
const theme = () => (dark.matches && !printing.matches ? 'dark' : 'light');
const showTheme = () => document.documentElement.classList.toggle('dark', theme() === 'dark');
showTheme();

function save(name, type, content) {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([content], {type}));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// ---- tables

const kPage = 100;  // rows at once; tables with fewer have no pages

function makeSortable(table) {
  const numbers = [...table.tHead.rows[0].cells].flatMap((cell, i) => (cell.classList.contains('number') ? [i] : []));
  const rows = table.tBodies[0].rows.length;
  new DataTable(table, {
    autoWidth: false,
    columnDefs: [{targets: numbers, type: 'num'}],
    info: rows > kPage,
    language: {search: 'Filter:', emptyTable: 'nothing here', zeroRecords: 'no row has this text'},
    layout: {topStart: null, topEnd: null, top: rows > 3 ? 'search' : null},
    order: [],
    pageLength: kPage,
    paging: rows > kPage,
  });
  const frame = table.closest('.dt-layout-table');
  if (frame) {
    frame.tabIndex = 0;
    frame.setAttribute('role', 'region');
    frame.setAttribute('aria-label', table.getAttribute('aria-label'));
  }
}

// ---- plots

const specOf = (figure) => JSON.parse(figure.querySelector('script').textContent);
const drawn = new Map();  // figure -> what vegaEmbed returned

async function draw(figure) {
  drawn.get(figure)?.finalize();
  const place = figure.querySelector('.place');
  try {
    drawn.set(figure, await vegaEmbed(place, specOf(figure), {
      actions: false, config: {...themes[theme()], background: 'transparent'}, renderer: 'svg',
    }));
  } catch (error) {
    place.textContent = `This plot cannot be drawn: ${error.message}`;
    console.error(error);
  }
}

// One after the other, so that the page answers in between.
const waiting = new Set();
let busy = false;
async function work() {
  if (busy) return;
  busy = true;
  for (const figure of waiting) {
    waiting.delete(figure);
    if (figure.querySelector('.place').clientWidth > 0) await draw(figure);
    await new Promise((resolve) => setTimeout(resolve));
  }
  busy = false;
}
function want(figure) {
  waiting.add(figure);
  work();
}
const seen = new IntersectionObserver((entries) => {
  for (const {isIntersecting, target} of entries) {
    if (isIntersecting) {
      seen.unobserve(target);
      want(target);
    }
  }
}, {rootMargin: '400px'});

function redraw() {
  showTheme();
  [...drawn.keys()].forEach(want);
}

async function savePlot(figure, kind) {
  const spec = specOf(figure);
  if (kind === 'csv') {
    save(`${figure.id}.csv`, 'text/csv', spec.data.values);
  } else {
    const place = document.createElement('div');
    const width = Math.max(480, Number(figure.dataset.width));
    const {view} = await vegaEmbed(place, {...spec, width}, {actions: false, config: themes.light});
    save(`${figure.id}.svg`, 'image/svg+xml', await view.toSVG());
    view.finalize();
  }
}

// ---- the page

document.querySelectorAll('table.sortable').forEach(makeSortable);
document.querySelectorAll('figure.plot').forEach((figure) => {
  seen.observe(figure);
  figure.querySelectorAll('button').forEach((button) => {
    button.addEventListener('click', () => savePlot(figure, button.value));
  });
});
document.querySelectorAll('button.open').forEach((button) => {
  button.addEventListener('click', () => {
    const open = button.value === 'open';
    document.querySelectorAll('details.board').forEach((board) => { board.open = open; });
  });
});
const openTarget = () => {
  const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) target.closest('details')?.setAttribute('open', '');
};
addEventListener('hashchange', openTarget);
openTarget();
dark.addEventListener('change', redraw);
// A paper has no bars to scroll: a table that is wider than a page becomes smaller (page.css).
const fitTables = () => {
  const page = 1030, smaller = 0.68;  // pixels of its width; letters of tables on paper and on the screen
  document.querySelectorAll('table').forEach((table) => {
    table.style.setProperty('--fit', Math.min(1, page / (table.scrollWidth * smaller + 1)));
  });
};
addEventListener('beforeprint', () => { fitTables(); redraw(); });
addEventListener('afterprint', redraw);
let width = innerWidth;
addEventListener('resize', () => {
  if (innerWidth !== width) redraw();
  width = innerWidth;
});
// Nothing waits for a plot that is drawn when a paper is printed, so what is open is drawn before anybody asks.
const whenIdle = window.requestIdleCallback ?? ((work) => setTimeout(work, 500));
whenIdle(() => document.querySelectorAll('figure.plot').forEach((figure) => {
  if (figure.querySelector('.place').clientWidth > 0) {
    seen.unobserve(figure);
    want(figure);
  }
}));
document.documentElement.dataset.ready = 'yes';
