const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;

for (const holder of document.querySelectorAll("[data-plot]")) {
  const spec = JSON.parse(document.getElementById(holder.dataset.plot + "-spec").textContent);
  const still = holder.querySelector("svg");
  const place = document.createElement("div");
  spec.config = Object.assign(spec.config || {}, { mark: { tooltip: true } });
  vegaEmbed(place, spec, {
    actions: false,
    ast: true,
    defaultStyle: false,
    renderer: "svg",
    tooltip: { theme: dark ? "dark" : "light" },
  }).then(() => {
    const drawn = place.querySelector("svg");
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", still.querySelector("title").textContent);
    for (const part of drawn.querySelectorAll("[role^=graphics],[aria-roledescription]")) {
      part.removeAttribute("role");
      part.removeAttribute("aria-roledescription");
      part.removeAttribute("aria-label");
    }
    holder.replaceChild(place, still);
  });
}
