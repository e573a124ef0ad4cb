// [element, contrast with its background, required contrast] of all text, controls and bars, by WCAG 2.2
() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true})
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1)
    return [...canvas.getImageData(0, 0, 1, 1).data]
  }
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, index) => sum + v * [0.2126, 0.7152, 0.0722][index], 0)
  const background = element => {
    for (let ancestor = element; ancestor; ancestor = ancestor.parentElement) {
      const colour = rgba(getComputedStyle(ancestor).backgroundColor)
      if (colour[3] === 255) return colour
    }
    return [255, 255, 255, 255]
  }
  const ratio = (colour, other) => {
    const [dark, bright] = [light(colour), light(other)].sort((a, b) => a - b)
    return (bright + 0.05) / (dark + 0.05)
  }
  const found = []
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim())
    if (element.closest("svg")) {
      if (element.matches("path:not(.baseline)"))
        found.push([`${element.getAttribute("class")} bar`, ratio(rgba(getComputedStyle(element).fill), background(element)), 3])
    } else if (element.matches("input, select, button")) {
      found.push([element.tagName, ratio(rgba(getComputedStyle(element).color), background(element)), 4.5])
      found.push([`${element.tagName} edge`, ratio(rgba(getComputedStyle(element).borderTopColor), background(element)), 3])
      if (element.placeholder)
        found.push(["placeholder", ratio(rgba(getComputedStyle(element, "::placeholder").color), background(element)), 4.5])
    } else if (own && element.getClientRects().length) {
      found.push([`${element.tagName}.${element.className} ${element.textContent.slice(0, 30)}`,
        ratio(rgba(getComputedStyle(element).color), background(element)), 4.5])
    }
  }
  return found
}
