// Sign in with the token of a kiosk's address, such as http://wall.example/#token=..., which no server log shows.
const token = new URLSearchParams(location.hash.slice(1)).get("token");
if (token) {
  history.replaceState(null, "", location.pathname);
  document.getElementById("token").value = token;
  document.getElementById("sign-in").submit();
}
