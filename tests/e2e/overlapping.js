// cells of a row whose texts overlap: less than 4 pixels between them on the same line
() => {
  // Where the text of a cell is, without the lines that an element cuts off.
  const boxes = cell => {
    const walker = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT)
    const found = []
    while (walker.nextNode()) {
      const range = document.createRange()
      range.selectNodeContents(walker.currentNode)
      let cut = walker.currentNode.parentElement
      while (cut !== cell && getComputedStyle(cut).overflow !== "hidden") cut = cut.parentElement
      const limit = getComputedStyle(cut).overflow === "hidden" ? cut.getBoundingClientRect()
        : {top: -Infinity, bottom: Infinity, left: -Infinity, right: Infinity}
      for (const {top, bottom, left, right} of range.getClientRects())
        found.push({top: Math.max(top, limit.top), bottom: Math.min(bottom, limit.bottom),
          left: Math.max(left, limit.left), right: Math.min(right, limit.right)})
    }
    return found.filter(box => box.bottom - box.top > 2 && box.right - box.left > 0)
  }
  const meet = (one, other) => one.top < other.bottom - 2 && other.top < one.bottom - 2
    && one.left < other.right + 4 && other.left < one.right + 4
  return [...document.querySelectorAll("tr")].flatMap(row => {
    const cells = [...row.children].filter(cell => cell.getClientRects().length)
      .map(cell => [cell.innerText.slice(0, 30), boxes(cell)])
    return cells.flatMap(([text, here], index) => cells.slice(index + 1)
      .filter(([, there]) => here.some(one => there.some(other => meet(one, other))))
      .map(([other]) => `${text} | ${other}`))
  })
}
