// A small portal of components in the browser: it changes its address without loading. `?vue` is the same in Vue, and what
// stands in #app already, rendered on a server, is taken over.
import { createElement as e, useEffect, useState } from 'react';
import { createRoot, hydrateRoot } from 'react-dom/client';
import { createApp, createSSRApp, h, ref } from 'vue';
import * as React from '../../widget/integrations/react/visitstats.mjs';
import * as Vue from '../../widget/integrations/vue/visitstats.mjs';

const counter = window.counter; // props, as the page says
const articles = { '/a': { articleKey: 'news:1', author: 'An' }, '/b': { articleKey: 'news:2', author: 'Bình' } };
const props = (path) => ({ ...counter, ...articles[path] });
const app = document.getElementById('app');
let show;
window.go = (path) => {
  history.pushState(null, '', path + location.search);
  show(path);
};

if (location.search.includes('vue')) {
  const path = ref(location.pathname);
  show = (to) => (path.value = to);
  const portal = {
    render: () => h('main', [h(Vue.Views), h(Vue.Views, { of: path.value + '?list' }), h(Vue.Visitstats, props(path.value))]),
  };
  (app.firstChild ? createSSRApp(portal) : createApp(portal)).mount(app);
} else {
  const Portal = () => {
    const [path, setPath] = useState(location.pathname);
    useEffect(() => void (show = setPath), []);
    return e('main', null, e(React.Views), e(React.Views, { of: path + '?list' }), e(React.Visitstats, props(path)));
  };
  if (app.firstChild) hydrateRoot(app, e(Portal));
  else createRoot(app).render(e(Portal));
}
