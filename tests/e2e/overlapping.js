// cells of a row whose texts run into each other: less than 4 pixels between them on the same line
() => [...document.querySelectorAll("tbody tr")].flatMap(row => {
  const texts = [...row.querySelectorAll("td.number")].map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [cell.innerText, range.getBoundingClientRect()];
  });
  return texts.flatMap(([one, here], at) => texts.slice(at + 1)
    .filter(([, there]) => here.top < there.bottom && there.top < here.bottom
      && here.left < there.right + 4 && there.left < here.right + 4)
    .map(([other]) => `${one} | ${other}`));
})
