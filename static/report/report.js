// The button that prints; everything else of the report is drawn by the server.

document.getElementById("print").addEventListener("click", () => window.print());
