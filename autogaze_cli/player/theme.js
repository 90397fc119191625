// Light, dark, or as the system has it.

function chooseTheme(scheme) {
  document.documentElement.style.colorScheme = scheme;
  for (const button of document.querySelectorAll("#theme button")) {
    button.setAttribute("aria-pressed", button.value === scheme);
  }
}

for (const button of document.querySelectorAll("#theme button")) {
  button.addEventListener("click", () => chooseTheme(button.value));
}
chooseTheme("light dark");
