// cells of a row whose texts overlap: less than 4 pixels between them on the same line
() => [...document.querySelectorAll("tbody tr")].flatMap(row => {
  const texts = [...row.querySelectorAll("td.number")].map(cell => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return [cell.innerText, range.getBoundingClientRect()];
  });
  return texts.flatMap(([text, here], index) => texts.slice(index + 1)
    .filter(([, there]) => here.top < there.bottom && there.top < here.bottom
      && here.left < there.right + 4 && there.left < here.right + 4)
    .map(([other]) => `${text} | ${other}`));
})
