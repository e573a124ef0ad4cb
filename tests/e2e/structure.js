// violations of the document structure that screen readers need
() => {
  const all = selector => [...document.querySelectorAll(selector)]
  const wrong = []
  const want = (holds, rule) => holds || wrong.push(rule)
  want(["en", "zh-CN"].includes(document.documentElement.lang), "lang")
  want(document.title.trim(), "title")
  for (const one of ["h1", "main", "body > header", "body > footer"])
    want(all(one).length === 1, `exactly one ${one}`)
  const navs = all("nav").map(nav => nav.getAttribute("aria-label"))
  want(navs.length >= 2 && navs.every(Boolean) && new Set(navs).size === navs.length, "each nav has its own name")
  for (const one of all("input:not([type=hidden]), select, textarea"))
    want(one.labels.length === 1 && one.labels[0].textContent.trim(), `label of ${one.name}`)
  for (const one of all("a, button")) want(one.textContent.trim(), "a link or button without text")
  for (const one of all("img")) want(one.hasAttribute("alt"), "alt")
  for (const one of all("svg"))
    want(one.ariaHidden === "true" || (one.role === "img" && one.ariaLabel), "text of a drawing")
  for (const one of all("thead th")) want(one.scope === "col" && one.textContent.trim(), "scope of a column")
  for (const one of all("tbody tr"))
    want(one.querySelectorAll("th[scope=row]").length === 1 && one.children.length === all("thead th").length, "a row")
  for (const one of all("table")) want(one.caption?.textContent.trim(), "caption")
  const ids = all("[id]").map(one => one.id)
  want(new Set(ids).size === ids.length, "an id twice")
  for (const one of all("a[href^='#']")) want(document.querySelector(one.getAttribute("href")), "target of a link")
  want(document.scripts.length === 0, "a script")
  return wrong
}
