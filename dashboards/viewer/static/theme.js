// A classic script in the head: the theme is there before the first paint. "system" follows the machine.
(() => {
  const media = matchMedia("(prefers-color-scheme: light)");

  /** What is stored: dark, light or system. */
  const chosen = () => {
    try {
      return localStorage.getItem("dashboards.theme") || "system";
    } catch {
      return "system"; // storage is switched off
    }
  };

  const apply = () => {
    const choice = chosen();
    const theme = choice === "system" ? (media.matches ? "light" : "dark") : choice;
    if (document.documentElement.dataset.theme === theme) return;
    document.documentElement.dataset.theme = theme;
    document.dispatchEvent(new Event("themechange"));
  };

  const choose = (choice) => {
    try {
      localStorage.setItem("dashboards.theme", choice);
    } catch {
      document.documentElement.dataset.theme = choice;
    }
    apply();
  };

  media.addEventListener("change", apply);
  window.theme = { chosen, choose };
  apply();
})();
