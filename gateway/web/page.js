// The page: a table of instruments and a candle chart, from queries (HTTP) and live (WebSocket).
// All text goes in by textContent. Exact numbers stay text; only the chart's pixels are floats.
"use strict";

const API = "api/market-data";
const INTERVALS = ["1s", "1m", "5m", "15m", "1h", "4h", "1d"];
const CANDLES_MAX = 120, INSTRUMENTS_MAX = 300, POLLED_MAX = 30;
const BOOK_LEVELS = 12, BOOK_MS = 1000;
const POLL_MS = 5000, RETRY_MS = [500, 8000], PAINT_MS = 250;

const $ = (id) => document.getElementById(id);
const rows = new Map();      // "BTCUSDT.BINANCE" -> {symbol, venue, cells, shown, updates}
const candles = new Map();   // opening time in ms -> candle of the chosen instrument
let chosen = null, interval = "1m", socket = null, retryMs = RETRY_MS[0];
let position = 0, updates = 0, loading = 0, waiting = null, hovered = null, dirty = true;

async function ask(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(`${API}/${path}${query ? "?" + query : ""}`);
  const body = await answer.json();
  if (!body.success) throw Object.assign(new Error(body.error.message), {code: body.error.code});
  seen(body.meta.as_of.r);
  return body;
}

function seen(r) { if (r > position) position = r; }

// ---- the table

async function instruments() {
  for (let page = 1; rows.size < INSTRUMENTS_MAX; page++) {
    const {data} = await ask("instruments", {status: "TRADING", limit: 100, page});
    for (const one of data.items) row(one.symbol, one.venue);
    if (!data.hasNext) break;
  }
  if (!chosen && rows.size) choose(rows.get("BTCUSDT.BINANCE") ?? [...rows.values()][0]);
}

function row(symbol, venue) {
  const id = `${symbol}.${venue}`;
  let found = rows.get(id);
  if (found || rows.size >= INSTRUMENTS_MAX) return found;
  const line = document.createElement("tr");
  line.tabIndex = 0;
  const cells = {};
  for (const name of ["symbol", "venue", "price", "bid", "ask", "close", "change", "volume", "rate"]) {
    cells[name] = line.appendChild(document.createElement("td"));
  }
  cells.symbol.textContent = symbol;
  cells.venue.textContent = venue;
  found = {id, symbol, venue, line, cells, shown: {}, updates: 0, quoted: 0, barred: 0, priced: 0};
  line.addEventListener("click", () => choose(found));
  line.addEventListener("keydown", (event) => { if (event.key === "Enter") choose(found); });
  rows.set(id, found);
  const after = [...rows.keys()].sort();
  $("rows").insertBefore(line, rows.get(after[after.indexOf(id) + 1])?.line ?? null);
  $("empty").hidden = true;
  return found;
}

function show(found, name, text) {
  found.shown[name] = text ?? "–";
}

function quoted(found, quote) {
  if (quote.r < found.quoted) return;   // the state asked for is older than what came live
  found.quoted = quote.r;
  show(found, "bid", quote.bid);
  show(found, "ask", quote.ask);
  found.line.classList.toggle("stale", Boolean(quote.flags?.includes("STALE")));
}

function barred(found, bar) {
  if (bar.r < found.barred) return;
  found.barred = bar.r;
  show(found, "close", bar.close);
  show(found, "volume", bar.volume);
  const change = (Number(bar.close) / Number(bar.open) - 1) * 100;
  show(found, "change", `${change >= 0 ? "+" : ""}${change.toFixed(3)} %`);
  found.direction = change >= 0 ? "up" : "down";
}

async function poll() {   // the state to begin with, and all there is without `live`
  for (const found of [...rows.values()].slice(0, POLLED_MAX)) {
    try {
      const quote = (await ask(`quote/${found.symbol}`, {venue: found.venue})).data;
      quoted(found, quote);
      if (quote.price !== null && !found.priced) show(found, "price", quote.price);
      const [bar] = (await ask(`candles/${found.symbol}`, {venue: found.venue, limit: 1})).data;
      if (bar) barred(found, bar);
    } catch (error) {
      if (error.code !== "QUOTE_NOT_FOUND") throw error;
    }
  }
}

// ---- live updates

function connect(url) {
  state("connecting", "");
  socket = new WebSocket(url);
  socket.onopen = () => {
    retryMs = RETRY_MS[0];
    state("live", "live");
    subscribe("quotes", "*", "*");
    subscribe("bars", "*", "*", "1s");
    subscribe("bars", "*", "*", "1m");
    if (chosen) load();
  };
  socket.onmessage = (message) => { for (const one of JSON.parse(message.data)) take(one); };
  socket.onclose = () => {
    state("away", "away");
    setTimeout(() => connect(url), retryMs);
    retryMs = Math.min(2 * retryMs, RETRY_MS[1]);
  };
}

function subscribe(channel, symbol, venue, every) {
  const topic = {op: "subscribe", channel, symbol, venue};
  if (every) topic.interval = every;
  socket.send(JSON.stringify(topic));
}

function take(one) {
  if (one.as_of) seen(one.as_of);
  if (one.event === "gap") { load(); return; }
  if (one.event === "subscribed" && waiting?.(one)) return;
  if (one.event) return;
  seen(one.r);
  updates += 1;
  const found = row(one.symbol, one.venue);
  if (!found) return;
  found.updates += 1;
  const last = one.data[one.data.length - 1];
  if (one.channel === "quotes") quoted(found, last);
  if (one.channel === "bars" && one.interval === "1s") {
    found.priced = one.r;
    show(found, "price", last.close);
  }
  if (one.channel === "bars" && one.interval === "1m") barred(found, last);
  if (one.channel === "bars" && found === chosen && one.interval === interval) {
    for (const bar of one.data) keep(bar);
  }
}

// ---- candles: subscribe, then ask from that position on, then apply what is newer

function keep(bar) {
  const before = candles.get(bar.time);
  if (before && before.r >= bar.r) return;
  candles.set(bar.time, bar);
  if (candles.size > 4 * CANDLES_MAX) {
    const old = [...candles.keys()].sort((a, b) => a - b).slice(0, candles.size - CANDLES_MAX);
    for (const time of old) candles.delete(time);
  }
  dirty = true;
}

function subscribed(symbol, venue, every) {   // the position that the server is at from then on
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error("no answer")), POLL_MS);
    waiting = (one) => {
      if (one.symbol !== symbol || one.venue !== venue || one.interval !== every) return false;
      waiting = null;
      resolve(one.as_of);
      return true;
    };
    subscribe("bars", symbol, venue, every);
  });
}

async function load() {
  const mine = ++loading, {symbol, venue} = chosen ?? {}, every = interval;
  if (!symbol) return;
  try {
    const parameters = {timeframe: every, venue, limit: CANDLES_MAX};
    if (socket?.readyState === WebSocket.OPEN) {
      parameters.min_seq = await subscribed(symbol, venue, every);
    }
    const {data} = await ask(`candles/${symbol}`, parameters);
    if (mine !== loading) return;
    for (const bar of data) keep(bar);
  } catch (error) {
    if (mine === loading) setTimeout(() => { if (mine === loading) load(); }, RETRY_MS[1]);
  }
}

function choose(found, every = interval) {
  if (socket?.readyState === WebSocket.OPEN && chosen) {
    const {symbol, venue} = chosen;
    socket.send(JSON.stringify({op: "unsubscribe", channel: "bars", symbol, venue, interval}));
  }
  chosen?.line.classList.remove("chosen");
  chosen = found;
  interval = every;
  chosen.line.classList.add("chosen");
  $("title").textContent = `${found.symbol} · ${found.venue}`;
  for (const button of $("intervals").children) {
    button.classList.toggle("chosen", button.textContent === interval);
  }
  candles.clear();
  dirty = true;
  load();
}

// ---- the order book of the chosen instrument, once a second

async function book() {
  const mine = chosen;
  try {
    if (mine && !document.hidden) {
      const {data} = await ask(`orderbook/${mine.symbol}`, {venue: mine.venue, limit: BOOK_LEVELS});
      if (mine === chosen) ladder(data);
    }
  } catch (error) {
    if (mine === chosen) ladder({state: "no book", bids: [], asks: [], flags: [], lastUpdateId: "–"});
  }
  setTimeout(book, BOOK_MS);
}

function ladder({state: proven, bids, asks, flags, lastUpdateId}) {
  $("book-state").textContent = proven;
  $("book-state").className = `state ${proven === "VALID" ? "live" : "away"}`;
  $("book-flags").textContent = flags.join(" ");
  $("book-id").textContent = lastUpdateId;
  for (const [id, levels, side] of [["bids", bids, "up"], ["asks", asks, "down"]]) {
    $(id).replaceChildren(...levels.map(([price, quantity]) => {
      const line = document.createElement("tr");
      for (const [text, kind] of [[quantity, ""], [price, side]]) {
        const cell = line.appendChild(document.createElement("td"));
        cell.textContent = text;
        cell.className = kind;
      }
      return line;
    }));
  }
}

// ---- the chart

function draw() {
  const canvas = $("chart"), scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * scale;
  canvas.height = height * scale;
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.font = "11px system-ui, sans-serif";
  const color = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`);
  const shown = [...candles.values()].sort((a, b) => a.time - b.time).slice(-CANDLES_MAX);
  $("flags").textContent = [...new Set(shown.flatMap((bar) => bar.flags))].join(" ");
  if (!shown.length) {
    pen.fillStyle = color("dim");
    pen.fillText("No closed candle yet.", 12, 24);
    $("hover").textContent = "";
    return;
  }
  const right = 78, bottom = 20, volumes = 60, plot = width - right, top = 8;
  const floor = height - bottom - volumes;
  let low = Math.min(...shown.map((bar) => Number(bar.low)));
  let high = Math.max(...shown.map((bar) => Number(bar.high)));
  const pad = (high - low || high * 0.001) * 0.06;
  low -= pad; high += pad;
  const most = Math.max(...shown.map((bar) => Number(bar.volume))) || 1;
  const y = (price) => top + (high - price) / (high - low) * (floor - top);
  const step = plot / shown.length, body = Math.max(1, Math.min(14, step * 0.7));
  const decimals = Math.max(0, Math.min(8, 3 - Math.floor(Math.log10(high - low))));
  pen.textBaseline = "middle";
  for (let line = 0; line <= 5; line++) {
    const price = low + (high - low) * line / 5;
    pen.fillStyle = color("line");
    pen.fillRect(0, Math.round(y(price)), plot, 1);
    pen.fillStyle = color("dim");
    pen.fillText(price.toFixed(decimals), plot + 6, y(price));
  }
  shown.forEach((bar, at) => {
    const [open, highest, lowest, close] = [bar.open, bar.high, bar.low, bar.close].map(Number);
    const x = (at + 0.5) * step;
    pen.fillStyle = color(close >= open ? "up" : "down");
    pen.fillRect(Math.round(x), y(highest), 1, Math.max(1, y(lowest) - y(highest)));
    const from = y(Math.max(open, close));
    pen.fillRect(x - body / 2, from, body, Math.max(1, y(Math.min(open, close)) - from));
    pen.globalAlpha = 0.35;
    const size = Number(bar.volume) / most * (volumes - 12);
    pen.fillRect(x - body / 2, height - bottom - size, body, size);
    pen.globalAlpha = 1;
    if (bar.flags.includes("GAP")) {
      pen.fillStyle = color("warn");
      pen.fillRect(x - body / 2, floor + 2, body, 3);
    }
  });
  pen.fillStyle = color("dim");
  const every = Math.max(1, Math.ceil(90 / step));
  for (let at = every >> 1; at < shown.length; at += every) {
    const text = clock(shown[at].time);
    pen.fillText(text, (at + 0.5) * step - pen.measureText(text).width / 2, height - bottom / 2);
  }
  const at = hovered === null ? shown.length - 1 : Math.floor(hovered / step);
  tell(shown[Math.max(0, Math.min(shown.length - 1, at))]);
  if (hovered !== null && hovered < plot) {
    pen.fillStyle = color("mark");
    pen.fillRect(Math.round(hovered), top, 1, height - bottom - top);
  }
}

function clock(ms) {
  const text = new Date(ms).toISOString();
  return interval === "1d" ? text.slice(5, 10) : text.slice(11, interval === "1s" ? 19 : 16);
}

function tell(bar) {
  const when = new Date(bar.time).toISOString().replace(".000", "");
  $("hover").textContent = `${when}  open ${bar.open}  high ${bar.high}  low ${bar.low}`
    + `  close ${bar.close}  volume ${bar.volume}  trades ${bar.trades}`
    + (bar.revision ? `  revision ${bar.revision}` : "") + `  r ${bar.r}`;
}

// ---- begin

function state(text, kind) {
  $("state").textContent = text;
  $("state").className = `state ${kind}`;
}

let told = performance.now();
function paint() {
  const now = performance.now(), seconds = (now - told) / 1000;
  const second = seconds >= 1;
  if (second) {
    $("rate").textContent = Math.round(updates / seconds);
    updates = 0;
    told = now;
  }
  $("position").textContent = position.toLocaleString("en");
  for (const found of rows.values()) {
    if (second) {
      show(found, "rate", (found.updates / seconds).toFixed(1));
      found.updates = 0;
    }
    for (const [name, text] of Object.entries(found.shown)) {
      if (found.cells[name].textContent !== text) found.cells[name].textContent = text;
    }
    found.cells.change.className = found.direction ?? "";
  }
  if (dirty) { dirty = false; draw(); }
}

async function begin() {
  for (const every of INTERVALS) {
    const button = $("intervals").appendChild(document.createElement("button"));
    button.textContent = every;
    button.addEventListener("click", () => { if (chosen) choose(chosen, every); });
  }
  $("chart").addEventListener("mousemove", (event) => { hovered = event.offsetX; dirty = true; });
  $("chart").addEventListener("mouseleave", () => { hovered = null; dirty = true; });
  addEventListener("resize", () => { dirty = true; });
  setInterval(paint, PAINT_MS);
  const {live_url: url} = await (await fetch("page.json")).json();
  const again = async () => {
    try {
      await instruments();
      await poll();
      if (!url) { await load(); state("polling", "live"); }
    } catch (error) {
      if (!url) state(error.message, "away");
    }
    setTimeout(again, url ? 12 * POLL_MS : POLL_MS);
  };
  if (url) connect(url);
  again();
  book();
}

begin();
