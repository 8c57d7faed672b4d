<?php

/**
 * The counter of visitstats in a NukeViet block, for NukeViet 4 and its eGovernment edition. License: MIT.
 */

if (!defined('NV_MAINFILE')) {
    exit('Stop!!!');
}

// ---- The snippet: the same in every integration in PHP (tests/integrations compares them) ----------------------------

if (!class_exists('VisitstatsSnippet', false)) {
    /** The snippet of one site, as `visitstats site embed` prints it. */
    final class VisitstatsSnippet
    {
        // Starts the download of the widget without holding up the page's load event.
        const LOADER = "!function(w,d,u){function e(n){return d.createElement(n)}"
            . "function g(){var a=u,s=e('script');u=0;if(a)try{s.async=1;s.src=a;h.appendChild(s)}catch(x){}}"
            . "var h=d.documentElement,l=e('link');l.rel='preload';l.as='script';l.href=u;l.onload=g;h.appendChild(l);"
            . "d.readyState=='complete'?g():w.addEventListener('load',g)}(window,document,'%s/widget.js')";

        private $api;
        private $site;
        private $options;

        private function __construct($api, $site, array $options)
        {
            $this->api = $api;
            $this->site = $site;
            $this->options = $options;
        }

        /**
         * Reads what `visitstats site embed` printed, or its data-… attributes alone. Null when these name no service and
         * no site. Nothing but the attributes is taken from the text.
         */
        public static function read($text)
        {
            $text = ' ' . $text;
            if (preg_match('~<script\b((?:[^>"\']|"[^"]*"|\'[^\']*\')*)>~i', $text, $tag)) {
                $text = ' ' . $tag[1];
            }
            $options = array();
            preg_match_all('~\sdata-([a-z][a-z0-9-]*)=(?:"([^"]*)"|\'([^\']*)\')~', $text, $found, PREG_SET_ORDER);
            foreach ($found as $one) {
                $options[$one[1]] = html_entity_decode(end($one), ENT_QUOTES, 'UTF-8');
            }
            if (!isset($options['api']) && preg_match('~\ssrc="([^"?]*)/widget\.js~', $text, $source)) {
                $options['api'] = $source[1];
            }
            $api = isset($options['api']) ? rtrim($options['api'], '/') : '';
            $site = isset($options['site']) ? $options['site'] : '';
            if (!preg_match('~^(https?:/)?/[\w./:\[\]-]+$~D', $api) || !preg_match('~^[a-z0-9-]{1,63}$~D', $site)) {
                return null;
            }
            unset($options['api'], $options['site'], $options['key']); // the key is that of each page
            return new self($api, $site, $options);
        }

        /** The whole snippet: style sheet, script, and a frame for readers without JavaScript. */
        public function html()
        {
            $html = '';
            if (!empty($this->options['theme'])) {
                $html .= '<link rel="stylesheet" href="' . self::text($this->api) . "/widget/themes/box.css\">\n";
            }
            $html .= '<script data-visitstats';
            foreach (array('api' => $this->api, 'site' => $this->site) + $this->options as $name => $value) {
                $html .= ' data-' . $name . '="' . self::text($value) . '"';
            }
            return $html . ">\n" . sprintf(self::LOADER, $this->api) . "\n</script>" . $this->frame();
        }

        /** The address of a route of this site, as `views`. */
        public function address($route)
        {
            return $this->api . '/v1/sites/' . $this->site . '/' . $route;
        }

        /** The same text, for storing. */
        public function __toString()
        {
            return $this->html();
        }

        /** What the head says of an article: key, author, category, published. Empty ones are left out. */
        public static function metas(array $article)
        {
            $html = '';
            foreach (self::metaNames() as $name => $attribute) {
                if (isset($article[$name]) && trim($article[$name]) !== '') {
                    $html .= '<meta ' . $attribute . ' content="' . self::text($article[$name]) . "\">\n";
                }
            }
            return $html;
        }

        public static function metaNames()
        {
            return array(
                'key' => 'name="visitstats-key"',
                'author' => 'name="author"',
                'category' => 'property="article:section"',
                'published' => 'property="article:published_time"',
            );
        }

        /** A place for the count of another article, by its key or address: the widget asks for all of a page at once. */
        public static function views($key)
        {
            return '<span data-vs-views="' . self::text($key) . '">—</span>';
        }

        /** Text for an attribute. What systems look for in finished pages (variables, shortcodes, positions) is spelled out. */
        public static function text($text)
        {
            $special = array('$' => '&#36;', '\\' => '&#92;', '[' => '&#91;', ']' => '&#93;', '{' => '&#123;', '}' => '&#125;');
            return strtr(htmlspecialchars((string) $text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8'), $special);
        }

        private function frame()
        {
            $lines = isset($this->options['lines']) ? $this->options['lines'] : 'online,today,week,total';
            if ($lines === '') {
                return '';
            }
            $query = array('lines' => $lines, 'theme' => '');
            foreach (array('lang', 'title', 'labels', 'format', 'structure', 'theme') as $name) {
                if (isset($this->options[$name])) {
                    $query[$name] = $this->options[$name];
                }
            }
            $low = preg_match('~\bvs-(inline|badge)\b~', $query['theme']);
            $height = $low ? 48 : 70 + 62 * count(preg_split('~[,|]~', $lines));
            $title = isset($query['title']) ? $query['title'] : '';
            if ($title === '') {
                $title = preg_match('~^(vi|$)~i', isset($query['lang']) ? $query['lang'] : '') ? 'Thống kê truy cập' : 'Visitor statistics';
            }
            return "\n<noscript><iframe src=\"" . self::text($this->address('box') . '?' . http_build_query($query, '', '&'))
                . '" title="' . self::text($title) . '" width="100%" height="' . $height
                . '" frameborder="0" loading="lazy"></iframe></noscript>';
        }
    }
}

// ---- The end of what is the same ---------------------------------------------------------------------------------------

if (!nv_function_exists('nv_block_visitstats')) {
    /** The form of the block's settings. */
    function nv_block_config_visitstats($module, $data_block, $lang_block = array())
    {
        $snippet = isset($data_block['snippet']) ? $data_block['snippet'] : '';
        return '<div class="form-group"><label class="control-label col-sm-6">Mã nhúng:</label>'
            . '<div class="col-sm-18"><textarea name="config_snippet" class="form-control" rows="8">'
            . VisitstatsSnippet::text($snippet) . '</textarea>'
            . '<p class="help-block">Dán nội dung do lệnh <code>visitstats site embed</code> in ra.</p></div></div>';
    }

    /** What of the form is kept: the snippet's attributes. NukeViet's own filter would take the script away. */
    function nv_block_config_visitstats_submit($module, $lang_block = array())
    {
        $text = isset($_POST['config_snippet']) && is_string($_POST['config_snippet']) ? $_POST['config_snippet'] : '';
        $snippet = VisitstatsSnippet::read($text);
        return array(
            'error' => $snippet ? array() : array('Mã nhúng không có địa chỉ máy đếm (data-api) hoặc mã cổng (data-site).'),
            'config' => array('snippet' => (string) $snippet),
        );
    }

    /**
     * What the head says of an article of the module news: its row, its category's title, its moment. NukeViet keeps texts
     * with entities. The key is that of the preset "nukeviet".
     */
    function nv_block_visitstats_metas($module, $language, array $row, $category, $published)
    {
        return VisitstatsSnippet::metas(array(
            'key' => ($language === 'vi' ? '' : $language . ':') . $module . ':' . (int) $row['id'],
            'author' => html_entity_decode(isset($row['author']) ? $row['author'] : '', ENT_QUOTES, 'UTF-8'),
            'category' => html_entity_decode($category, ENT_QUOTES, 'UTF-8'),
            'published' => $published ? date('c', $published) : '',
        ));
    }

    function nv_block_visitstats($block_config)
    {
        global $my_head, $module_name, $site_mods, $news_contents, $global_array_cat, $publtime;

        $snippet = VisitstatsSnippet::read(isset($block_config['snippet']) ? $block_config['snippet'] : '');
        if (!$snippet) {
            return '';
        }
        $file = isset($site_mods[$module_name]['module_file']) ? $site_mods[$module_name]['module_file'] : '';
        if ($file === 'news' && !empty($news_contents['id'])) {
            $id = $news_contents['catid'];
            $category = isset($global_array_cat[$id]['title']) ? $global_array_cat[$id]['title'] : '';
            $my_head .= nv_block_visitstats_metas($module_name, NV_LANG_DATA, $news_contents, $category, (int) $publtime);
        }
        // NukeViet may move the script to the end of the page; the box stays here.
        return "<div data-vs-box></div>\n" . $snippet->html();
    }
}

if (defined('NV_SYSTEM')) {
    $content = nv_block_visitstats($block_config);
}
