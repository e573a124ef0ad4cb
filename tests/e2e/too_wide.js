// elements that extend beyond the right edge of the screen
() => [...document.querySelectorAll("main :not(thead, thead *)")]
  .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
  .map(element => `${element.tagName}.${element.className}`)
