// A small portal of components, the same on a server and in a browser: an article by its address, and one in a list.
import { createElement } from 'react';
import { h } from 'vue';
import * as React from '../../widget/integrations/react/visitstats.mjs';
import * as Vue from '../../widget/integrations/vue/visitstats.mjs';

const articles = { '/a': { articleKey: 'news:1', author: 'An' }, '/b': { articleKey: 'news:2', author: 'Bình' } };

export const reactPortal = (counter, path) =>
  createElement(
    'main',
    null,
    createElement(React.Views),
    createElement(React.Views, { of: `${path}?list` }),
    createElement(React.Visitstats, { ...counter, ...articles[path] }),
  );

export const vuePortal = (counter, path) =>
  h('main', [h(Vue.Views), h(Vue.Views, { of: `${path}?list` }), h(Vue.Visitstats, { ...counter, ...articles[path] })]);
